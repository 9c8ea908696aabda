"""Where a pod template says which role the application logs in as."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotctl.adopt.original import containers, env, volumes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.original import Object, Original

USER = re.compile(r"user|role|login|uid", re.IGNORECASE)
OF_DATABASE = re.compile(r"pg|postgres|db|database|sql", re.IGNORECASE)
# In connection strings: before the @ of a URL, or as the value of a keyword.
LOGIN = (
    r"(?P<before>://){0}(?=(?::[^/@\s]*)?@)"
    r"|(?P<key>\b(?i:user(?: ?name| ?id)?|uid)\s*=\s*['\"]?){0}(?=['\"\s;&]|$)"
)
HOST = re.compile(
    r"(pg|postgres\w*|db|database|sql)[\w]*?_?(host|hostname|server|addr|address)$", re.IGNORECASE
)
NAME = re.compile(
    r"(pg_?database|(postgres\w*|db|database|sql)_?(name|database|db))$", re.IGNORECASE
)
PORT = re.compile(r"(pg|postgres\w*|db|database|sql)[\w]*?_?port$", re.IGNORECASE)


@dataclass(frozen=True)
class Variable:
    """A variable of the pods: of a container's `env`, or of a ConfigMap that it reads.

    `config_map` is where the value stands, or "" for the template itself; `reference` says that the
    template has the variable's name, and a reference in place of its value. `value` is None where a
    Kubernetes Secret has it.
    """

    container: str
    name: str
    value: str | None
    config_map: str = ""
    reference: bool = False
    secret: str = ""


def variables(original: Original) -> list[Variable]:
    """All of them, those of ConfigMaps too as far as these were read."""
    return [*_own(original), *_from_config_maps(original)]


def _own(original: Original) -> Iterator[Variable]:
    for container, one in env(original.template):
        at, name, source = container["name"], one["name"], one.get("valueFrom") or {}
        if "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            value = _data(original, reference["name"]).get(reference["key"])
            if value is not None:
                yield Variable(at, name, value, reference["name"], reference=True)
        elif "secretKeyRef" in source:
            secret = f"{source['secretKeyRef']['name']}/{source['secretKeyRef']['key']}"
            yield Variable(at, name, None, reference=True, secret=secret)
        elif one.get("value"):
            yield Variable(at, name, str(one["value"]))


def _from_config_maps(original: Original) -> Iterator[Variable]:
    for container in containers(original.template):
        said = {one["name"] for one in container.get("env") or []}
        for source in container.get("envFrom") or []:
            name = str((source.get("configMapRef") or {}).get("name") or "")
            for key, value in _data(original, name).items() if name else ():
                variable = f"{source.get('prefix', '')}{key}"
                if variable not in said:
                    yield Variable(container["name"], variable, value, name)


def _data(original: Original, config_map: str) -> dict[str, str]:
    found = original.one("ConfigMap", config_map) or {}
    return {key: str(value) for key, value in (found.get("data") or {}).items()}


def files(original: Original) -> Iterator[tuple[str, str, str]]:
    """ConfigMap, key and text of each file that a volume has from a ConfigMap."""
    for name in config_maps(original.template):
        for key, text in _data(original, name).items():
            yield name, key, text


def config_maps(template: Object) -> list[str]:
    """Those that volumes are made of, each once."""
    names = []
    for volume in volumes(template):
        sources = (volume.get("projected") or {}).get("sources") or []
        names += [volume["configMap"]["name"]] if volume.get("configMap") else []
        names += [one["configMap"]["name"] for one in sources if one.get("configMap")]
    return list(dict.fromkeys(names))


def candidates(original: Original) -> list[str]:
    """What may be the role's name, the likeliest kind alone: values of variables that are called
    like a database's user, or like any user's."""
    named = [v for v in variables(original) if v.value and USER.search(v.name) and _plain(v.value)]
    of_database = [v for v in named if OF_DATABASE.search(v.name)]
    in_urls = [found for v in variables(original) if v.value for found in _users(v.value)]
    wanted = [str(v.value) for v in of_database] or in_urls or [str(v.value) for v in named]
    return list(dict.fromkeys(wanted))


def _plain(value: str) -> bool:
    return re.fullmatch(r"[\w.@-]{1,63}", value) is not None


def _users(value: str) -> list[str]:
    return re.findall(r"postgres\w*(?:\+\w+)?://([\w.-]+)(?=[:@])", value)


def carries(variable: Variable, role: str) -> bool:
    """Whether a variable says the role: by itself, or in a connection string."""
    if variable.value is None:
        return False
    if variable.value == role:
        return USER.search(variable.name) is not None
    return renamed(variable.value, role, "") != variable.value


def renamed(text: str, role: str, to: str) -> str:
    """A text with the role replaced where it is the user of a connection string."""
    pattern = LOGIN.format(re.escape(role))
    return re.sub(pattern, lambda match: f"{match['before'] or match['key']}{to}", text)


def says(original: Original, pattern: re.Pattern[str]) -> list[str]:
    """The values of variables that are called so, each once: the database's host, port or name."""
    values = [v.value for v in variables(original) if v.value and pattern.search(v.name)]
    return list(dict.fromkeys(str(value) for value in values))
