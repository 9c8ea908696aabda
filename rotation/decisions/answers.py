"""Whether a workload's answer to a test is the expected one."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from rotation.model.reasons import Code, Reason, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rotation.model.world import Found, Slot

INDEX = re.compile(r"0|[1-9][0-9]{0,8}")  # of a list, as JSON Pointers write it
ABSENT = object()


@dataclass(frozen=True)
class Expectation:
    """What a test's answer must be; `fields` with `{role}` and `{slot}` filled in."""

    status: int
    fields: Mapping[str, object]


def fill(text: str, role: str, slot: Slot) -> str:
    """The text with `{role}` and `{slot}` filled in, and nothing else.

    A configuration file must not reach the attribute access of `str.format`.
    """
    return text.replace("{role}", role).replace("{slot}", slot)


def judge(expected: Expectation, status: int, body: bytes) -> Reason | None:
    """Why an answer does not pass, or None if it does.

    Quotes keys and expected values, never the body.
    """
    if status != expected.status:
        return reason(Code.TEST_STATUS, f"answered {status}, not {expected.status}")
    if not expected.fields:
        return None
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError):
        return reason(Code.TEST_NOT_JSON, "did not answer JSON")
    if not isinstance(document, dict | list):
        return reason(Code.TEST_NOT_JSON, "did not answer a JSON object or list")
    for key, expected_value in expected.fields.items():
        answered = _at(document, key)
        equal = answered == expected_value and (
            isinstance(answered, bool) is isinstance(expected_value, bool)
        )
        if answered is ABSENT or not equal:
            return reason(Code.TEST_FIELD, f"JSON field {key!r} is not {expected_value!r}")
    return None


def judge_row(expected: object, found: Found) -> Reason | None:
    """Why what a query found does not pass, or None if it does. Quotes the expected value alone."""
    match found:
        case "as expected":
            return None
        case "another value":
            text = f"the first column of the first row is not {expected!r}"
        case "no row":
            text = f"there is no row, whose first column must be {expected!r}"
        case _:
            assert_never(found)
    return reason(Code.TEST_VALUE, text)


def _at(document: object, key: str) -> object:
    """What a key leads to, or `ABSENT`: a field of the document, or with a slash in front a JSON
    Pointer (https://www.rfc-editor.org/rfc/rfc6901)."""
    if not key.startswith("/"):
        return document.get(key, ABSENT) if isinstance(document, dict) else ABSENT
    for part in key[1:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name, ABSENT)
        elif isinstance(document, list) and INDEX.fullmatch(name) and int(name) < len(document):
            document = document[int(name)]
        else:
            return ABSENT
    return document
