"""The moves as files: scripts of bash that anybody can run, and an index that `--apply` reads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rotctl.adopt.moves import back_to_one, moves
from rotctl.adopt.shell import PASSING
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from pathlib import Path

    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan

Way = Literal["apply", "undo"]
INDEX = "moves.json"
VERSION = 1
FOLDERS: dict[Way, str] = {"apply": "moves", "undo": "undo"}
PARTS = ("do", "check", "back")
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")
# It stops at the first command that fails, and says which; whatever happens, no password stays.
HEAD = """\
#!/usr/bin/env bash
# {title}
set -euo pipefail
cd "$(dirname "$0")/../.."
trap 'echo "stopped at: $(sed -n "${{LINENO}}p" "{path}")" >&2' ERR
trap 'rm -f {passing}' EXIT

"""


@dataclass(frozen=True)
class Step:
    """A move as its folder has it. `folder` is its path in the folder of all."""

    name: str
    title: str
    why: str
    expects: str
    folder: str
    does: bool
    goes_back: bool
    back_says: str = ""
    by_hand: str = ""
    answer: str | None = None
    needs: tuple[str, ...] = ()

    def script(self, part: str) -> str:
        return f"{self.folder}/{part}.sh"


@dataclass(frozen=True)
class Index:
    """What is applied: to which credential, cluster and database, by which moves."""

    credential: str
    server: str
    environment: dict[str, str]
    steps: dict[Way, tuple[Step, ...]]


def files(plan: Plan) -> dict[str, str]:
    """Each file's text by its path."""
    made: dict[str, str] = {}
    document: dict[str, Any] = {
        "version": VERSION,
        "credential": plan.credential.name,
        "server": plan.cluster.server,
        "environment": environment(plan),
    }
    both: dict[Way, list[Move]] = {"apply": moves(plan), "undo": back_to_one(plan)}
    for way, found in both.items():
        steps = [(one, _folder(way, number, one)) for number, one in enumerate(found, 1)]
        for one, folder in steps:
            made |= _scripts(one, folder)
        document[way] = [_entry(one, folder) for one, folder in steps]
    made[INDEX] = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return made


def environment(plan: Plan) -> dict[str, str]:
    """Which database is meant."""
    one = plan.credential
    return {"PGHOST": one.host, "PGPORT": str(one.port), "PGDATABASE": one.database}


def name_of(move: Move) -> str:
    return move.name or re.sub(r"[^a-z0-9]+", "-", move.title.lower()).strip("-")


def _folder(way: Way, number: int, move: Move) -> str:
    return f"{FOLDERS[way]}/{number:02}-{name_of(move)}"


def _scripts(move: Move, folder: str) -> dict[str, str]:
    lines = {"do": move.do, "check": move.check, "back": move.back}
    return {
        f"{folder}/{part}.sh": _head(move, f"{folder}/{part}.sh") + "\n".join(lines[part]) + "\n"
        for part in PARTS
        if lines[part]
    }


def _head(move: Move, path: str) -> str:
    title = " ".join(move.title.split())
    return HEAD.format(title=title, path=path, passing=" ".join(PASSING))


def _entry(move: Move, folder: str) -> dict[str, Any]:
    made: dict[str, Any] = {
        "name": name_of(move),
        "title": move.title,
        "why": move.why,
        "folder": folder,
        "do": bool(move.do),
        "back": bool(move.back),
        "expects": move.expects,
    }
    if move.answer is not None:
        made["answer"] = move.answer
    more = {"byHand": move.by_hand, "backSays": move.back_says, "needs": list(move.needs)}
    return {**made, **{key: value for key, value in more.items() if value}}


def read(folder: Path) -> Index:
    """What a folder says that `adopt` wrote. Raises `ClientError` for any other."""
    path = folder / INDEX
    try:
        return _index(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        text = f"{path} cannot be read: {error.strerror}"
    except (AttributeError, KeyError, TypeError, ValueError):
        text = f"{path} is no list of moves that this version knows"
    cure = (
        "name a folder that this version's `rotctl adopt` wrote; it writes what is missing in one"
    )
    raise ClientError(text, cure, Exit.USAGE)


def _index(document: dict[str, Any]) -> Index:
    if document["version"] != VERSION:
        raise ValueError(document["version"])
    steps: dict[Way, tuple[Step, ...]] = {
        way: tuple(_step(each, way) for each in document[way]) for way in FOLDERS
    }
    names = {str(k): str(v) for k, v in document["environment"].items()}
    if not all(name.startswith("PG") for name in names):
        raise ValueError(names)
    return Index(str(document["credential"]), str(document["server"]), names, steps)


def _step(entry: dict[str, Any], way: Way) -> Step:
    folder, name = str(entry["folder"]), str(entry["name"])
    if not re.fullmatch(rf"{FOLDERS[way]}/\d+-{NAME.pattern}", folder) or not NAME.fullmatch(name):
        raise ValueError(folder)
    return Step(
        name=name,
        title=str(entry["title"]),
        why=str(entry["why"]),
        expects=str(entry["expects"]),
        folder=folder,
        does=bool(entry["do"]),
        goes_back=bool(entry["back"]),
        back_says=str(entry.get("backSays", "")),
        by_hand=str(entry.get("byHand", "")),
        answer=entry.get("answer"),
        needs=tuple(str(one) for one in entry.get("needs", ())),
    )
