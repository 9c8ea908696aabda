"""Makes the moves of a folder: `adopt --apply` and `--undo`; and `former`, which its moves call."""

from __future__ import annotations

import getpass
import os
import shlex
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from rotctl.adopt import former, running, scripts, state
from rotctl.adopt.carrying import Carrying, Result, Stopped
from rotctl.command import cli, print_json
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotctl.adopt.carrying import Answer
    from rotctl.adopt.scripts import Index, Step, Way

HERE = "two-slots"  # where `adopt` writes unless told otherwise
# What names workloads, for whoever writes a folder; and what only its moves have a use for.
WORKLOADS = ("deployment", "cron_job", "stateful_set", "daemon_set", "deployment_in_place")
OF_MOVES = ("dry_run", "yes", "only", "until", "this_cluster", "last")
KEYS = "[y]es, [s]how its commands, [q]uit"
BACK = ", [b]ack: lead the one before back"


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives `adopt` what it takes to make the moves of a folder."""
    folder = {"is_flag": False, "flag_value": HERE, "default": "", "metavar": "[DIR]"}
    for option in (
        click.option("--last", is_flag=True, help="With --undo: nobody else needs the rotator."),
        click.option("--this-cluster", is_flag=True, help="kubectl's is meant, whatever its URL."),
        click.option("--until", default="", metavar="MOVE", help="Stop after this move."),
        click.option(
            "--only", default="", metavar="MOVE", help="Make this move, again if need be."
        ),
        click.option("--dry-run", is_flag=True, help="Look and say what is left; change nothing."),
        click.option("--yes", is_flag=True, help="Do not ask before a move: all are meant."),
        click.option("--undo", help="Make the moves that lead back to one slot.", **folder),  # type: ignore[arg-type]  # click's own words
        click.option("--apply", help="Make the moves that a folder has.", **folder),  # type: ignore[arg-type]  # so too
    ):
        command = option(command)
    return command


def carry_out(given: dict[str, Any]) -> Exit | None:
    """Makes the moves. Raises `ClientError`."""
    way: Way = "apply" if given["apply"] else "undo"
    _one_thing(given)
    folder = Path(given[way])
    index = scripts.read(folder)
    asks = not given["yes"] and not given["dry_run"]
    if asks and (given["as_json"] or not sys.stdin or not sys.stdin.isatty()):
        text = "nobody is at a terminal who could be asked before each move"
        raise ClientError(text, "give --yes if all are meant, or --dry-run", Exit.USAGE)
    environment = running.environment(os.environ, index.environment, last=given["last"])
    with state.locked(folder) as lock, _ended_by_signals():
        talk = _Terminal(folder, asks=not given["yes"], quiet=given["as_json"])

        def first(text: str) -> None:
            """Whoever thinks about a question may choose another cluster meanwhile, elsewhere."""
            if not given["this_cluster"]:
                _same_cluster(folder, index.server, environment, text)

        made = Carrying(
            steps=index.steps[way],
            way=way,
            run=running.Runner(folder.resolve(), environment, lock=lock, first=first),
            talk=talk,
            state=state.read(folder),
            by=_who(),
            command=_typed(way, folder),
            dry=given["dry_run"],
            only=given["only"],
            until=given["until"],
        )
        _ready(folder, index, made, environment, given)
        return _made(made, given, talk, index)


def refuse_what_moves_take(given: dict[str, Any]) -> None:
    """Whoever types `--dry-run` does not expect a folder. Raises `ClientError`."""
    named = [f"--{one.replace('_', '-')}" for one in OF_MOVES if given[one]]
    if named:
        text = f"{', '.join(named)} would go with --apply or --undo, and neither is given"
        cure = "add the one that is meant; or leave it out: writing a folder changes nothing else"
        raise ClientError(text, cure, Exit.USAGE)


def _one_thing(given: dict[str, Any]) -> None:
    cure = "give one of them"
    if given["apply"] and given["undo"]:
        text = "--apply leads to two slots, and --undo to one"
    elif given["only"] and given["until"]:
        text = "--only makes one move, and --until all up to one"
    elif given["context"]:
        text = "the moves go where kubectl goes, by the current context of your kubeconfig"
        cure = "`kubectl config use-context` chooses it, in the place of --context"
    elif any(given[kind] for kind in WORKLOADS):
        text = "a folder says itself which workloads it is about"
        cure = "leave them out"
    else:
        return
    raise ClientError(text, cure, Exit.USAGE)


def _made(made: Carrying, given: dict[str, Any], talk: _Terminal, index: Index) -> Exit | None:
    try:
        results = made.carry_out()
    except Stopped as stopped:
        if given["as_json"]:
            _document(index, made, list(made.results.values()), stopped)
            return stopped.exit_code
        raise
    except (KeyboardInterrupt, click.Abort):
        click.echo(f"interrupted; what was begun goes on with: {made.command}", err=True)
        return Exit.INTERRUPTED
    if given["as_json"]:
        _document(index, made, results, None)
    else:
        talk.end(results)
    return None


def _document(index: Index, made: Carrying, results: list[Result], stop: Stopped | None) -> None:
    print_json(
        {
            "credential": index.credential,
            "way": made.way,
            "dryRun": made.dry,
            "moves": [asdict(one) for one in results],
            "stopped": stop.document if stop else None,
        }
    )


def _typed(way: Way, folder: Path) -> str:
    return f"rotctl adopt --{way} {shlex.quote(str(folder))}"


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name
        return str(os.getuid())


# -- before anything is done


def _ready(
    folder: Path, index: Index, made: Carrying, environment: dict[str, str], given: dict[str, Any]
) -> None:
    """Raises `ClientError` for what is missing, all of it at once, and for another cluster."""
    texts, missing = [], []
    for step in made.chosen():
        for part, wanted in (("do", step.does), ("check", True), ("back", step.goes_back)):
            path = folder / step.script(part)
            if wanted and not path.is_file():
                missing.append(f"the folder has no {step.script(part)}")
            elif wanted:
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
        missing += [
            f"the variable {one} is not set ({step.name})"
            for one in step.needs
            if one not in environment
        ]
    missing += [f"there is no {one} here" for one in running.tools(texts, environment["PATH"])]
    if missing:
        text = "\n".join(("this is missing:", *(f"- {one}" for one in dict.fromkeys(missing))))
        raise ClientError(text, "install or set it, and run it again", Exit.USAGE)
    if not given["this_cluster"]:
        _same_cluster(folder, index.server, environment, "\n".join(texts))


def _same_cluster(folder: Path, server: str, environment: dict[str, str], text: str) -> None:
    """Whether kubectl, if a script calls it, talks to the cluster that the folder is about."""
    if "kubectl" not in text:
        return
    shown = [
        "kubectl",
        "config",
        "view",
        "--minify",
        "-o",
        "jsonpath={.clusters[0].cluster.server}",
    ]
    try:
        done = subprocess.run(  # noqa: S603 - argv is written here
            shown, env=environment, capture_output=True, text=True, check=False, timeout=30
        )
    except subprocess.TimeoutExpired:
        text = "kubectl did not say within 30 s which cluster it talks to"
        raise ClientError(text, f"try: {shlex.join(shown)}", Exit.UNREACHABLE) from None
    if done.returncode == 0 and done.stdout.strip().rstrip("/") == server.rstrip("/"):
        return
    found = done.stdout.strip() or done.stderr.strip()[:200] or "no cluster"
    text = f"{folder} is about the cluster at {server}, and kubectl has {found}"
    cure = "`kubectl config use-context` chooses; --this-cluster, if both are the same one"
    raise ClientError(text, cure, Exit.USAGE)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A SIGTERM or a terminal that closes ends it as Ctrl-C does: with nothing left behind."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    ends = [one for one in signal.Signals if one.name in {"SIGTERM", "SIGHUP"}]
    before = {one: signal.signal(one, interrupt) for one in ends}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


# -- at the terminal


class _Terminal:
    def __init__(self, folder: Path, *, asks: bool, quiet: bool) -> None:
        self.folder, self.asks, self.quiet = folder, asks, quiet

    def heading(self, number: int, count: int, step: Step) -> None:
        self._say(f"{number}/{count} {step.title} ({step.name})", bold=True)

    def line(self, text: str) -> None:
        self._say(f"    {text}")

    def ask(self, step: Step, before: Step | None) -> Answer:
        self._say(f"  {step.why}")
        if step.by_hand:
            self._say(f"  By hand: {step.by_hand}")
        if not self.asks:
            return "yes"
        self._commands(step, ("do",))
        keys = KEYS + (BACK if before else "")
        while True:
            said = click.prompt(f"  {keys}", default="s", show_default=False, err=True)
            match str(said).strip().lower()[:1]:
                case "y":
                    return "yes"
                case "q":
                    return "quit"
                case "b" if before:
                    return "back"
                case _:
                    self._commands(step, scripts.PARTS)

    def by_hand(self, step: Step, *, passes: bool) -> bool:
        if not self.asks:
            return passes
        if not passes:
            self._say(f"  Its check does not pass yet. Expected: {step.expects}")
        question = f"  By hand: {step.by_hand}\n  Is it done? [y]es, [q]uit"
        said = click.prompt(question, default="y", show_default=False, err=True)
        return not str(said).strip().lower().startswith(("q", "n"))

    def end(self, results: list[Result]) -> None:
        done = sum(one.fate in {"done", "was done"} for one in results)
        left = sum(one.fate == "would be done" for one in results)
        self._say(f"{done} moves are done" + (f", {left} would be made" if left else ""))

    def _commands(self, step: Step, parts: tuple[str, ...]) -> None:
        for part in parts:
            path = self.folder / step.script(part)
            if path.is_file():
                self._say(f"  {path}:")
                _, _, lines = path.read_text(encoding="utf-8").partition("\n\n")
                for each in lines.rstrip().splitlines():
                    self._say(f"    {each}")

    def _say(self, text: str, *, bold: bool = False) -> None:
        if not self.quiet:
            click.secho(text, bold=bold)


# -- the command that moves call


@cli.command("former", hidden=True)  # for scripts: it prints a document, whatever is asked
@click.argument("before", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("adopted", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def former_(before: Path, adopted: Path) -> None:
    """Print an object as it was before there were slots, with what has changed since.

    BEFORE and ADOPTED are files of the folder that `adopt` wrote; the blue slot's object as it is
    now comes on standard input, as JSON.
    """
    texts = (before.read_text(encoding="utf-8"), adopted.read_text(encoding="utf-8"))
    click.echo(former.text(*texts, sys.stdin.read()), nl=False)
