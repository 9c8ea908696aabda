"""Whether the pod templates of a workload's two slots are the same, but for the slots' own names.

Templates are JSON as the API server gives it, with its defaults in place. Their values may be
secret: what leaves this module names paths, and never a value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rotation.model.words import few

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rotation.model.wire import JsonObject

# From the template's top; an item of a list by the key that tells it from others, or its number.
Path = tuple[str, ...]

OURS = "credential-rotation/"
CONTAINERS = ("containers", "initContainers")
# Looked at piece by piece also where only one template has any of it.
PIECEMEAL = {("metadata",), ("metadata", "annotations"), *(("spec", kind) for kind in CONTAINERS)}
NOTHING: tuple[Any, ...] = (None, [])  # the API server tells one like the other
# Another name of serviceAccountName: the API server writes both, and reads the old one where there
# is no new one.
OLD_ACCOUNT = ("spec", "serviceAccount")
RESTARTED = "kubectl.kubernetes.io/restartedAt"
# What tells the items of a list apart, as Kubernetes merges them; `name` for all others.
# https://kubernetes.io/docs/reference/generated/kubernetes-api/ (patch merge key)
KEYS = {
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
IN_CONTAINERS = {
    "args", "command", "env", "envFrom", "image", "imagePullPolicy", "lifecycle", "livenessProbe",
    "ports", "readinessProbe", "startupProbe", "volumeDevices", "volumeMounts", "workingDir",
}  # fmt: skip
# Lists whose items have a key: where a path says which one, in brackets.
LISTS = {*KEYS, *CONTAINERS, "env", "httpHeaders", "imagePullSecrets", "resourceClaims", "volumes"}
WHOLE = {"args", "command", "envFrom", "tolerations"}  # lists whose items have no key
MOST = 8  # paths that a text names
LONGEST_PATH = 160  # characters
WRITTEN = re.compile(r"[^\[\]]+|\[[^\[\]]+\]")
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9]*")
WORD = r"(?<![A-Za-z0-9])(?:{})(?![A-Za-z0-9])"


class Names:
    """The names that each of two slots has of its own: its role, secrets, Deployment and label.

    They are replaced where they stand as words, between what is no letter and no digit. A name that
    has its slot's word in it, `orders_blue`, is the other slot's wherever that one has it: nobody
    calls anything else so. Others, `blue` itself for one, may be a word of both.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], slots: tuple[str, str]) -> None:
        self._other: dict[str, list[str]] = {}
        for one, another in (*pairs, slots):
            if one != another:
                self._other.setdefault(one, []).append(another)
                self._other.setdefault(another, []).append(one)
        self._own = {
            name
            for name in self._other
            if name not in slots and any(has_word(name, slot) for slot in slots)
        }
        longest_first = sorted(self._other, key=len, reverse=True)
        words = WORD.format("|".join(map(re.escape, longest_first)) or "(?!)")
        self._words = re.compile(f"({words})")

    def renamed(self, text: str) -> str:
        """The text with each name of one slot replaced by the other's."""
        return self._words.sub(lambda match: self._other[match[0]][0], text)

    def same(self, active: str, standby: str) -> bool:
        """Whether two texts are the same but for names."""
        ours, theirs = self._words.split(active), self._words.split(standby)
        return len(ours) == len(theirs) and all(
            self._same_word(*pair) if number % 2 else pair[0] == pair[1]
            for number, pair in enumerate(zip(ours, theirs, strict=True))
        )

    def _same_word(self, active: str, standby: str) -> bool:
        if active == standby:
            return active not in self._own
        return standby in self._other[active]


def has_word(name: str, word: str) -> bool:
    """Whether the word stands in the name, between what is no letter and no digit."""
    return re.search(WORD.format(re.escape(word)), name) is not None


class Rules(NamedTuple):
    """What two templates may have of their own: names, and all that is under some paths."""

    names: Names
    differs: tuple[Path, ...] = ()

    def allows(self, path: Path) -> bool:
        """Whether a path may differ."""
        return _left_out(path) or any(
            path[: len(one)] == one for own in self.differs for one in (own, self._renamed(own))
        )

    def within(self, path: Path) -> bool:
        """Whether something under a path may differ, and not all of it; or is told one by one."""
        return path in PIECEMEAL or any(
            len(one) > len(path) and one[: len(path)] == path
            for own in self.differs
            for one in (own, self._renamed(own))
        )

    def _renamed(self, path: Path) -> Path:
        return tuple(self.names.renamed(part) for part in path)


def _left_out(path: Path) -> bool:
    """Whether a path is of no interest: notes of ours and of restarts, images, which each rotation
    brings along by container, and the old name of another path."""
    match path:
        case ("metadata", "annotations", key):
            return key.startswith(OURS) or key == RESTARTED
        case ("metadata", "creationTimestamp"):
            return True
        case ("spec", kind, _, "image"):
            return kind in CONTAINERS
    return path == OLD_ACCOUNT


def differences(active: JsonObject, standby: JsonObject, rules: Rules) -> list[str]:
    """The paths at which the standby's template is not the active's, in the order of the template.

    One that only one of them has is named as a whole.
    """
    return [_told(path) for path in _differing(active, standby, (), rules)]


def _told(path: Path) -> str:
    """A path in a text: whoever deploys chooses its keys, and a path of a mount may be anything."""
    text = "".join(sign if sign.isprintable() else "?" for sign in shown(path))
    return text if len(text) <= LONGEST_PATH else f"{text[: LONGEST_PATH - 3]}..."


def _differing(active: Any, standby: Any, path: Path, rules: Rules) -> Iterator[Path]:
    if rules.allows(path):
        return
    if active in NOTHING or standby in NOTHING:
        if active not in NOTHING or standby not in NOTHING:
            yield from _alone(standby if active in NOTHING else active, path, rules)
        return
    ours, theirs = members(active, path), members(standby, path)
    if ours is None or theirs is None:
        if not _same(active, standby, rules.names):
            yield path
        return
    partners = _partners(ours, theirs, rules.names)
    for key, value in ours.items():
        yield from _differing(value, theirs.get(partners.get(key, "")), (*path, key), rules)
    for key in _others(theirs, partners):
        yield from _differing(None, theirs[key], (*path, key), rules)
    order = [key for key in theirs if key in partners.values()]
    if path[-1:] == ("initContainers",) and order != [partners[k] for k in ours if k in partners]:
        yield path  # they run one after the other


def _alone(value: Any, path: Path, rules: Rules) -> Iterator[Path]:
    """The paths of what only one template has: what may differ of it is left out."""
    inner = members(value, path) if rules.within(path) else None
    if inner is None:
        yield path
        return
    for key, part in inner.items():
        if not rules.allows((*path, key)):
            yield from _alone(part, (*path, key), rules)


def _same(active: Any, standby: Any, names: Names) -> bool:
    """Whether two values are the same but for names."""
    match active, standby:
        case str(), str():
            return names.same(active, standby)
        case list(), list():
            return len(active) == len(standby) and all(
                _same(one, another, names) for one, another in zip(active, standby, strict=True)
            )
        case dict(), dict():
            partners = _partners(active, standby, names)
            return len(active) == len(standby) == len(partners) and all(
                _same(active[key], standby[partners[key]], names) for key in active
            )
    return type(active) is type(standby) and bool(active == standby)


def _partners(ours: dict[str, Any], theirs: dict[str, Any], names: Names) -> dict[str, str]:
    """The standby's key for each of the active's that it has too, first of all by its own name.

    None twice: the active may have the names of both slots, and the standby one of them.
    """
    named = {key: names.renamed(key) for key in ours}
    partners = {key: own for key, own in named.items() if own in theirs}
    taken = set(partners.values())
    return partners | {
        key: key for key in ours if key not in partners and key in theirs and key not in taken
    }


def _others(theirs: dict[str, Any], partners: dict[str, str]) -> list[str]:
    """The keys that only the standby has."""
    taken = set(partners.values())
    return [key for key in theirs if key not in taken]


def members(value: Any, path: Path) -> dict[str, Any] | None:
    """The parts of a value by key: fields of an object, or items of a list that a key tells apart.

    None for anything else.
    """
    if isinstance(value, dict):
        return {key: part for key, part in value.items() if part not in NOTHING}
    if not isinstance(value, list) or not path:
        return None
    key = KEYS.get(path[-1], "name")
    keyed = [item.get(key) for item in value if isinstance(item, dict)]
    names = [str(name) for name in keyed if isinstance(name, str | int)]
    if len(set(names)) < len(value):
        return None
    return dict(zip(names, value, strict=True))


def brought(active: JsonObject, standby: JsonObject, rules: Rules) -> JsonObject:
    """The standby's template, made the active's wherever they differ: with its own names, with what
    may differ as it is, and with the active's images."""
    made: JsonObject = _brought(active, standby, (), rules)
    return made


def _brought(active: Any, standby: Any, path: Path, rules: Rules) -> Any:
    """The value to have in the standby, None for nothing; so are both where they have none."""
    active, standby = (None if one in NOTHING else one for one in (active, standby))
    if active is not None and path[-1:] == ("image",) and _left_out(path):
        return active
    if rules.allows(path):
        return None if path == OLD_ACCOUNT else standby
    ours, theirs = members(active, path), members(standby, path)
    ours = {} if active is None and theirs is not None else ours
    theirs = {} if standby is None and ours is not None else theirs
    if ours is None or theirs is None:
        if active is not None and standby is not None and _same(active, standby, rules.names):
            return standby
        return _renamed(active, rules.names)
    partners = _partners(ours, theirs, rules.names)
    parts: dict[str, Any] = {}
    for key, value in ours.items():
        own = partners.get(key, rules.names.renamed(key))
        parts[own] = _brought(value, theirs.get(partners.get(key, "")), (*path, key), rules)
    items = isinstance(standby if active is None else active, list)
    for key in _others(theirs, partners):
        if rules.allows((*path, key)) or not items:  # half of an item would be none
            parts[key] = _brought(None, theirs[key], (*path, key), rules)
    kept = {key: value for key, value in parts.items() if value is not None}
    if not kept and active is None:
        return None
    return list(kept.values()) if items else kept


def _renamed(value: Any, names: Names) -> Any:
    match value:
        case str():
            return names.renamed(value)
        case list():
            return [_renamed(one, names) for one in value]
        case dict():
            return {names.renamed(key): _renamed(part, names) for key, part in value.items()}
    return value


def shown(path: Path) -> str:
    """A path as people write it: `spec.containers[api].env[LOG_LEVEL]`."""
    text, inside = "", ""
    for part in path:
        listed = inside in LISTS or not PLAIN.fullmatch(part)
        text += f"[{part}]" if listed else f".{part}"
        inside = "" if inside in LISTS else part
    return text.removeprefix(".")


def listed(paths: Sequence[str]) -> str:
    """The first of some paths in one text, with how many more there are."""
    return few(paths, MOST)


def parsed(text: str) -> Path:
    """The path that a text like `spec.containers[api].env` is. Raises `ValueError` for one that can
    be none of a template's, with what to write instead."""
    pieces = WRITTEN.findall(text)
    if "".join(pieces) != text:
        raise ValueError("brackets come in pairs: write for example spec.containers[api].env")
    parts: list[str] = []
    for number, piece in enumerate(pieces):
        if piece.startswith("["):
            parts.append(piece[1:-1])
            continue
        dotted = piece.split(".")
        if number and dotted[0]:
            raise ValueError("after a bracket comes a dot: write for example spec.volumes[tmp]")
        parts += dotted[1:] if number else dotted
    path = tuple(parts)
    _ensure_possible(path)
    return path


def _ensure_possible(path: Path) -> None:
    """Raises `ValueError` for a path that no difference can have."""
    match path:
        case _ if not all(path):
            raise ValueError("it has an empty part: write for example spec.containers[api].env")
        case ("spec", "template", *_) | ("template", *_):
            raise ValueError("it begins inside the pod template: leave `template` out of it")
        case ("metadata", *rest) if rest[:1] not in (["labels"], ["annotations"]):
            raise ValueError("of metadata there are metadata.labels and metadata.annotations")
        case ("metadata", kind, key, _, *_):
            raise ValueError(f"a key with dots stands in brackets: metadata.{kind}[{key}...]")
        case ("spec", key, *_) if key in IN_CONTAINERS:
            raise ValueError(f"`{key}` is a container's: write spec.containers[NAME].{key}")
        case ("spec", kind, number, *_) if kind in LISTS and number.isdecimal():
            raise ValueError(f"items of `{kind}` have names: write spec.{kind}[NAME]")
        case ("spec", _, *_) | ("metadata", *_):
            pass
        case _:
            raise ValueError(
                "it must lead somewhere in a pod template: write for example "
                "spec.containers[api].env[LOG_LEVEL] or metadata.annotations"
            )
    whole = next((part for part in path[:-1] if part in WHOLE), None)
    if whole is not None:
        raise ValueError(f"`{whole}` is compared as a whole: end the path with it")
    if _left_out(path):
        raise ValueError(
            "it is never compared: images, our own annotations and serviceAccount are not"
        )


def container(path: str) -> str | None:
    """The container that a path is all of, as images name it; None for any other path."""
    match parsed_or_none(path):
        case ("spec", "containers", name):
            return name
        case ("spec", "initContainers", name):
            return f"init:{name}"
    return None


def beyond_containers(paths: Iterable[str]) -> tuple[str, ...]:
    """The paths without those of whole containers, which are looked at with their images."""
    return tuple(path for path in paths if container(path) is None)


def parsed_or_none(path: str) -> Path | None:
    try:
        return parsed(path)
    except ValueError:
        return None


def has_probe(template: JsonObject) -> bool:
    """Whether something tells when a pod is ready: a probe of one of its containers."""
    containers = (template.get("spec") or {}).get("containers") or []
    return not containers or any("readinessProbe" in each for each in containers)


def takes_all_down(strategy: JsonObject, replicas: int, at_once: int = 0) -> bool:
    """Whether a Deployment ends all its pods at once, before new ones are ready. `at_once` is how
    many pods its kind ends where the strategy does not say."""
    if strategy.get("type") == "Recreate":
        return True
    unavailable = (strategy.get("rollingUpdate") or {}).get("maxUnavailable", at_once)
    if isinstance(unavailable, str) and unavailable.rstrip("%").isdecimal():
        return int(unavailable.rstrip("%")) >= 100
    return isinstance(unavailable, int) and 0 < replicas <= unavailable
