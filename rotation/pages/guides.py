"""The guides of docs/ as pages: who needs them may have nothing but the app at hand.

They are the repository's own and hold nothing of any deployment. Links between them lead to pages,
and each code in the first column of a table has an anchor of its own: `#code-<code>`.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from markupsafe import Markup

FOLDER = Path(__file__).resolve().parents[2] / "docs"
PATH = "/api/pages/guides"
NAME = re.compile(r"[a-z]{1,30}")
CODES = frozenset(map(str, Code))
CODE = re.compile(r"[a-z0-9-]+")
COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
ELSEWHERE = re.compile(r"https?://")


@dataclass(frozen=True)
class Guide:
    """A guide's title, and its HTML from its first heading on."""

    title: str
    body: Markup


def link(name: str, anchor: str = "") -> str:
    """The path of a guide's page."""
    return f"{PATH}/{name}{'#' if anchor else ''}{anchor}"


def code_link(code: str) -> str | None:
    """The path of what recovery.md says of a reason's code; None for one of another release."""
    return link("recovery", f"code-{code}") if code in CODES else None


def remedy(text: str) -> Markup:
    """A reason's remedy as HTML: it is Markdown as it stands in recovery.md. What it links leads to
    guides alone: it may come from a record that others have written."""
    from markupsafe import Markup  # noqa: PLC0415 - see `_rendered`

    markdown = _markdown()
    (inline,) = markdown.parseInline(text)
    inline.children = list(_led(inline.children or [], "recovery"))
    return Markup(markdown.renderer.render([inline], markdown.options, {}))  # noqa: S704 - escaped


def guide(name: str) -> Guide | None:
    """The guide of that name; None if there is none."""
    return _rendered(name) if NAME.fullmatch(name) and _file(name).is_file() else None


def _file(name: str) -> Path:
    return FOLDER / f"{name}.md"


@cache
def _markdown() -> MarkdownIt:
    # Few of an app's processes ever show a guide: only those pay for it.
    from markdown_it import MarkdownIt  # noqa: PLC0415 - see above

    # `html` off: markup is shown as it stands.
    return MarkdownIt("commonmark", {"html": False}).enable("table")


@cache
def _rendered(name: str) -> Guide:
    from markupsafe import Markup  # noqa: PLC0415 - see `_markdown`

    markdown = _markdown()
    text = COMMENT.sub("", _file(name).read_text(encoding="utf-8"))
    tokens = markdown.parse(text)
    _anchor(tokens)
    for token in tokens:
        if token.children:
            token.children = list(_led(token.children))
    html = markdown.renderer.render(tokens, markdown.options, {})
    title = next(_words(tokens[at + 1]) for at, one in enumerate(tokens) if one.tag == "h1")
    return Guide(title, Markup(_scrolling(html)))  # noqa: S704 - the files are ours


def _words(inline: Token) -> str:
    """The text of a heading or cell, without markup."""
    return "".join(one.content for one in inline.children or () if one.type != "image")


def _anchor(tokens: list[Token]) -> None:
    """Gives headings the ids that GitHub gives them, and rows of codes one each."""
    used: Counter[str] = Counter()
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            slug = re.sub(r"[^\w\- ]", "", _words(tokens[at + 1]).lower()).replace(" ", "-")
            token.attrSet("id", f"{slug}-{used[slug]}" if used[slug] else slug)
            used[slug] += 1
        elif token.type == "tr_open" and tokens[at + 1].type == "td_open":
            cell = tokens[at + 2].children or []
            code = cell[0].content if len(cell) == 1 and cell[0].type == "code_inline" else ""
            if CODE.fullmatch(code) and not used[f"code-{code}"]:
                token.attrSet("id", f"code-{code}")
                used[f"code-{code}"] += 1


def _led(tokens: list[Token], of: str = "") -> Iterator[Token]:
    """The tokens of a line, whose links lead to pages of the app, into this one, or to the web; of
    a line that is quoted elsewhere, to pages alone: `of` is its guide.

    What is not served, such as a file of the repository, keeps its words; of a picture those that
    describe it stay.
    """
    led = True
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrGet("href") or ""), of)
            led = target is not None
            if target is not None:
                token.attrSet("href", target)
                yield token
        elif token.type == "link_close":
            if led:
                yield token
        elif token.type == "image":
            token.type, token.tag = "text", ""
            yield token
        else:
            yield token


def _target(href: str, of: str) -> str | None:
    """Where a guide's link leads on a page; None for what is not served."""
    if of and href.startswith("#"):
        return link(of, href[1:])
    if not of and (href.startswith("#") or ELSEWHERE.match(href)):
        return href
    path, _, anchor = href.partition("#")
    name = path.removesuffix(".md")
    served = path.endswith(".md") and NAME.fullmatch(name) and _file(name).is_file()
    return link(name, anchor) if served else None


def _scrolling(html: str) -> str:
    """The HTML with tables in regions that scroll by themselves, by keyboard too, as code does."""
    number = iter(range(1, html.count("<table>") + 1))
    opened = re.sub(
        "<table>",
        lambda _: (
            f'<div class="scroll" role="region" aria-label="Table {next(number)}" '
            'tabindex="0"><table>'
        ),
        html,
    )
    opened = re.sub("<pre(?=>)", '<pre tabindex="0"', opened)
    return opened.replace("</table>", "</table></div>")
