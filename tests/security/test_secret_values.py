"""Every way to get at a Secret's value by accident: none but `reveal` shows it."""

from __future__ import annotations

import copy
import inspect
import json
import pickle
import pprint
import traceback
from typing import TYPE_CHECKING, Any

import pytest

from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "hunter2-and-more"


def with_locals(secret: Secret) -> str:
    try:
        _fails(secret)
    except ValueError as error:
        found = traceback.TracebackException.from_exception(error, capture_locals=True)
        return "".join(found.format())
    raise AssertionError


def _fails(secret: Secret) -> None:
    raise ValueError(repr(secret))


ATTACKS: dict[str, Callable[[Any], object]] = {
    "repr": repr,
    "str": str,
    "format": lambda secret: f"{secret:>40}",
    "percent": lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - one of the ways
    "containers": lambda secret: repr([secret, {"a": secret}, (secret,)]),
    "pprint": lambda secret: pprint.pformat({"a": [secret]}),
    "vars": vars,
    "dict": lambda secret: secret.__dict__,
    "slots": lambda secret: [getattr(secret, name, None) for name in type(secret).__slots__],
    "members": inspect.getmembers,
    "getstate": lambda secret: secret.__getstate__(),
    "reduce": lambda secret: secret.__reduce_ex__(2),
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": lambda secret: copy.deepcopy({"a": secret}),
    "json": json.dumps,
    "json of str": lambda secret: json.dumps(secret, default=str),
    "json of vars": lambda secret: json.dumps(secret, default=vars),
    "bytes": bytes,
    "iteration": list,
    "traceback with locals": with_locals,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_value_is_not_shown_by_accident(attack: str) -> None:
    try:
        shown = ATTACKS[attack](Secret(VALUE))
    except (AttributeError, TypeError) as refused:
        shown = refused
    assert VALUE not in repr(shown), f"{attack} shows the value"


def test_reveal_shows_it() -> None:
    assert Secret(VALUE).reveal() == VALUE
