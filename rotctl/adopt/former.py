"""An object as it was before there were slots, with what has changed in the blue slot's since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import template_of
from rotctl.adopt.patching import KEYS
from rotctl.adopt.writing import manifests
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from rotctl.adopt.original import Object

GONE = object()
OURS = "credential-rotation/"  # notes of the app's


def text(before: str, adopted: str, live: str) -> str:
    """The manifest. `before` and `adopted` are YAML of the objects of before, and of the blue slot
    as it was made; `live` is the JSON of one of the blue slot's as it is now, or empty where there
    is none: then nothing has changed. Raises `ClientError`."""
    try:
        earlier, made = _objects(before), _objects(adopted)
        now = _ours_taken_off(cleaned(json.loads(live))) if live.strip() else None
        kind = now["kind"] if now else earlier[0]["kind"]
        (was,) = [one for one in earlier if one["kind"] == kind]
        if now is None:
            return manifests([was])
        (base,) = [one for one in made if one["kind"] == kind]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, yaml.YAMLError):
        # Nothing of them is quoted: a value of theirs may be a secret.
        said = "the files have not one object of the kind that is there now"
        raise ClientError(said, "give those that `rotctl adopt` wrote", Exit.USAGE) from None
    return manifests([merged(was, base, now)])


def _objects(text: str) -> list[Object]:
    return [cleaned(one) for one in yaml.safe_load_all(text) if one]


def _ours_taken_off(obj: Object) -> Object:
    for holder in (obj, *([template_of(obj)] if obj["kind"] in {"Deployment", "CronJob"} else [])):
        metadata = holder.get("metadata") or {}
        for kind in ("annotations", "labels"):
            kept = {k: v for k, v in (metadata.get(kind) or {}).items() if not k.startswith(OURS)}
            if kept:
                metadata[kind] = kept
            else:
                metadata.pop(kind, None)
    return obj


def merged(was: Any, base: Any, now: Any) -> Any:
    """`was`, with what `now` has otherwise than `base`. Lists whose items have names go item by
    item; of any other value the changed one counts."""
    if base == now:
        return was
    if all(isinstance(one, dict) for one in (was, base, now)):
        return _fields(was, base, now)
    return now


def _fields(was: Object, base: Object, now: Object) -> Object:
    made: Object = {}
    for key in dict.fromkeys([*was, *now]):
        before, adopted, live = (one.get(key, GONE) for one in (was, base, now))
        if adopted is live or adopted == live:
            found = before
        elif key in KEYS and all(isinstance(one, list) for one in (before, adopted, live)):
            found = _items(before, adopted, live, KEYS[key])
        else:
            found = merged(before, adopted, live)
        if found is not GONE:
            made[key] = found
    return made


def _items(was: list[Object], base: list[Object], now: list[Object], name: str) -> list[Object]:
    by = [{one[name]: one for one in each} for each in (was, base, now)]
    made = _fields(*by)
    return list(made.values())
