"""Every way to get at a Secret's value by accident: none but `reveal` shows it."""

from __future__ import annotations

import copy
import dataclasses
import gc
import inspect
import json
import logging
import pickle
import pprint
import traceback
import weakref
from typing import TYPE_CHECKING, Any

import msgspec
import pydantic_core
import pytest

from rotation import secrecy
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

VALUE = "hunter2-and-more"


@dataclasses.dataclass
class Holder:
    secret: Secret


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
    "an exception's arguments": lambda secret: ExceptionGroup("x", [ValueError(secret)]),
    "a log record": lambda secret: vars(logging.makeLogRecord({"msg": "%s", "args": (secret,)})),
    "dataclass": lambda secret: repr(Holder(secret)),
    "dataclass as dict": lambda secret: dataclasses.asdict(Holder(secret)),
    "msgspec": msgspec.json.encode,
    "msgspec of str": lambda secret: msgspec.json.encode(secret, enc_hook=repr),
    "msgspec builtins": msgspec.to_builtins,
    "pydantic": pydantic_core.to_jsonable_python,
    "pydantic of whatever": lambda secret: pydantic_core.to_json(secret, fallback=vars),
    "what it refers to": gc.get_referents,
    "what its module has": lambda secret: vars(inspect.getmodule(type(secret))),
    "what reveal closes over": lambda secret: inspect.getclosurevars(secret.reveal),
}


@pytest.mark.guarantee(3)
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_value_is_not_shown_by_accident(attack: str) -> None:
    try:
        shown = ATTACKS[attack](Secret(VALUE))
    except (AttributeError, TypeError, ValueError) as refused:
        shown = refused
    assert VALUE not in repr(shown), f"{attack} shows the value"


def test_reveal_shows_it() -> None:
    assert Secret(VALUE).reveal() == VALUE


def test_a_value_goes_with_its_secret() -> None:
    secret = Secret("of this test alone")
    values = secrecy._VALUES  # noqa: SLF001 - where they are
    assert "of this test alone" in values.values()
    gone = weakref.ref(secret)
    del secret
    assert gone() is None
    assert "of this test alone" not in values.values()


def test_a_secret_that_is_copied_is_refused_rather_than_empty() -> None:
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="pass the reference of its secret version"):
            attempt(Secret(VALUE))
