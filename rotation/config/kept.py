"""The entry that a rotation was planned with: kept with the rotation, so that it goes on with it.

It is what the file said of one credential and its clusters, as a configuration of its own, and
holds no secret. It is stored in the task hub with each call of an activity, and therefore
compressed: a credential with 50 workloads takes a few kilobytes instead of fifty. Whoever can write
there could have changed it, so that it is validated like the file when it is read.
"""

from __future__ import annotations

import base64
import binascii
import json
import zlib
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined

from rotation.config import Configuration, Listed, crosscheck, problem_lines
from rotation.config.document import dotted
from rotation.config.fields import duration_text, shown
from rotation.model.errors import ConfigurationError
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config.document import Path as Place

SOURCE = "the entry that this rotation was planned with"
LONGEST = 1024 * 1024  # bytes of JSON
PEM, KEY = "-----BEGIN", "PRIVATE KEY"
LONGEST_AUTHORITY = 16 * 1024  # characters; that is some ten certificates
MOST_CHANGES = 10  # that are listed
LONGEST_CHANGE = 160  # characters


def keep(configuration: Configuration, name: str) -> str:
    """A credential's entry and its clusters, as a text that `read` understands.

    Raises `ConfigurationError` for an entry that it would not read, since it is too long.
    """
    text = json.dumps(_entry(configuration, name), separators=(",", ":"), sort_keys=True).encode()
    if len(text) > LONGEST:
        problem = f"credentials.{name}: its entry is too long: 1 MiB at most goes with a rotation"
        raise ConfigurationError("credentials.yaml", [problem])
    return base64.b64encode(zlib.compress(text, 9)).decode()


@lru_cache(maxsize=64)
def read(text: str) -> Configuration:
    """The configuration that `keep` made a text of: one credential, and its clusters.

    Raises `ConfigurationError` for anything else.
    """
    try:
        written = json.loads(_inflated(text))
    except (ValueError, RecursionError, zlib.error, binascii.Error) as error:
        problem = f"it cannot be read: {type(error).__name__}"
        raise ConfigurationError(SOURCE, [problem], Code.ENTRY_INVALID) from None
    try:
        configuration = Configuration.model_validate(written)
    except ValidationError as error:
        problems = problem_lines(error, written)
    else:
        problems = [
            f"{dotted(path, written)}: {what}" for path, what in crosscheck.problems(written)
        ]
        if not problems:
            return configuration
    raise ConfigurationError(SOURCE, problems, Code.ENTRY_INVALID)


def _inflated(text: str) -> bytes:
    """The bytes behind a text. Raises `ValueError` for more than `LONGEST`."""
    inflater = zlib.decompressobj()
    content = inflater.decompress(base64.b64decode(text, validate=True), LONGEST)
    if not inflater.eof:
        raise ValueError("it is too long, or cut off")
    return content


def changes(kept: Configuration, today: Configuration) -> list[str]:
    """What the file says by now of the kept credential and its clusters, and did not say then.

    Lines of a path in the file and what happened there, at most `MOST_CHANGES`.
    """
    (name,) = kept.credentials
    if name not in today.credentials:
        return [f"credentials.{name}: is gone"]
    before, now = _entry(kept, name), _entry(today, name)
    lines = [
        f"{_called(path, before, now)}: {what}" for path, what in _differences(before, now, ())
    ]
    listed = [
        line if len(line) <= LONGEST_CHANGE else f"{line[: LONGEST_CHANGE - 3]}..."
        for line in lines[:MOST_CHANGES]
    ]
    more = len(lines) - len(listed)
    return [*listed, f"and {more} more"] if more else listed


def _called(path: Place, before: Any, now: Any) -> str:
    """A path as text, with a workload's index where its name is what has changed."""
    names = {dotted(path, before), dotted(path, now)}
    return names.pop() if len(names) == 1 else dotted(path)


def _entry(configuration: Configuration, name: str) -> dict[str, Any]:
    """A credential and its clusters as the file would have them, without what is a default."""
    credential = configuration.credential(name)
    used = sorted({workload.cluster for workload in credential.workloads})
    return {
        "clusters": {each: _plain(configuration.clusters[each]) for each in used},
        "credentials": {name: _plain(credential)},
    }


def _authority(authority: str) -> str:
    """The text of an authority instead of its file's path: the next release may have another file
    there, or none. A path where the file is none, has a key too, or is too much to go along."""
    if authority.lstrip().startswith(PEM):
        return authority
    try:
        _, begins, certificates = Path(authority).read_text(encoding="utf-8").partition(PEM)
    except (OSError, ValueError):
        return authority  # who uses it says what is wrong with it
    if not begins or KEY in certificates or len(certificates) > LONGEST_AUTHORITY:
        return authority
    return begins + certificates


def _plain(value: Any) -> Any:
    """A value of the configuration as the file would have it."""
    match value:
        case Listed():
            return (
                {"id": value.id, "address": value.address}
                if value.id and value.address
                else (value.id or value.address)
            )
        case BaseModel():
            fields = type(value).model_fields
            return {
                str(field.alias or name): _setting(name, setting)
                for name, field in fields.items()
                if (setting := getattr(value, name)) != _default(field)
            }
        case timedelta():
            return duration_text(value)
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _setting(name: str, value: Any) -> Any:
    """A setting as the file would have it, an authority as its text."""
    if name == "certificate_authority" and isinstance(value, str):
        return _authority(value)
    return _plain(value)


def _default(field: Any) -> Any:
    """A field's default; a value that nothing equals where it has none."""
    return object() if field.default is PydanticUndefined else field.default


def _differences(before: Any, now: Any, path: Place) -> Iterator[tuple[Place, str]]:
    """The paths at which two documents differ, and how."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in sorted({*before, *now}):
            yield from _difference_at(key, before.get(key), now.get(key), path)
    elif isinstance(before, list) and isinstance(now, list):
        for index in range(max(len(before), len(now))):
            then, today = (one[index] if index < len(one) else None for one in (before, now))
            yield from _difference_at(index, then, today, path)
    elif before != now:
        yield path, f"was {shown(before)}, is {shown(now)}"


def _difference_at(
    key: str | int, before: Any, now: Any, path: Place
) -> Iterator[tuple[Place, str]]:
    """The differences under a key. A value that is missing is a default, or nothing."""
    if before is None and now is not None:
        yield (*path, key), f"is new: {shown(now)}"
    elif now is None and before is not None:
        yield (*path, key), f"is gone: was {shown(before)}"
    else:
        yield from _differences(before, now, (*path, key))
