"""What a container's process is given: environment, command, and paths of its mounts.

A process has no mounts of its own: each volume is a directory below the pod's, and every
environment value, command and argument that is a mount path, or starts with one and a slash, is
rewritten to that directory. The environment of the API server is not inherited.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.cluster import kinds
from local.cluster.ports import PORT_ANNOTATION
from local.process import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from local.cluster.kinds import Kind, Object
    from local.cluster.store import Store

HOST = "127.0.0.1"
INHERITED = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TZ")
_REFERENCE = re.compile(r"\$(\$|\(([-._a-zA-Z][-._a-zA-Z0-9]*)\))")


class ConfigError(Exception):
    """A container that cannot be configured, in the words of its status."""


@dataclass
class Place:
    """Where a pod's containers find things: local ports by container port, mounts by path.

    `address` is where its connections come from.
    """

    directory: Path
    address: str
    ports: dict[int, int]
    mounts: dict[str, Path] = field(default_factory=dict)

    def rerooted(self, text: str) -> str:
        for path in sorted(self.mounts, key=len, reverse=True):
            if text == path or text.startswith(path + "/"):
                return str(self.mounts[path]) + text[len(path) :]
        return text


def expand(text: str, variables: Mapping[str, str]) -> str:
    """The text with `$(NAME)` replaced for known variables; `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        if found[1] == "$":
            return "$"
        return variables.get(found[2], found[0])

    return _REFERENCE.sub(value, text)


def command(container: Object, image: list[str], variables: Mapping[str, str]) -> list[str]:
    """The command line of a container: `command` replaces what the image runs, `args` come
    behind either. "python" is the interpreter that runs the cluster."""
    start = container.get("command") or image
    argv = [expand(part, variables) for part in [*start, *(container.get("args") or [])]]
    if argv[0] in {"python", "python3"}:
        argv[0] = sys.executable
    return argv


def variables(container: Object, pod: Object, place: Place, store: Store) -> dict[str, str]:
    """The environment variables of a container. Raises `ConfigError` for a reference to what does
    not exist."""
    namespace = pod["metadata"]["namespace"]
    found = _base(pod, place)
    if pod["spec"].get("enableServiceLinks", True):
        found |= _services(namespace, store)
    for source in container.get("envFrom") or []:
        found |= _from_source(source, namespace, store)
    for variable in container.get("env") or []:
        value = _value(variable, pod, found, store, place)
        if value is not None:
            found[variable["name"]] = value
    return {k: place.rerooted(v) for k, v in found.items()} | _ports(container, place)


def _base(pod: Object, place: Place) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return inherited | {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
        "PYTHONUNBUFFERED": "1",
        "HOME": str(place.directory),
        "HOSTNAME": pod["metadata"]["name"],
        "SOURCE_ADDRESS": place.address,
    }


def _services(namespace: str, store: Store) -> dict[str, str]:
    """Where the namespace's Services are, those that there are when a container starts.

    https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
    """
    found: dict[str, str] = {}
    for service in store.items(kinds.SERVICE, namespace):
        annotations = service["metadata"].get("annotations") or {}
        local = [text for key, text in annotations.items() if key.startswith(PORT_ANNOTATION)]
        if local and service["spec"].get("clusterIP") != "None":
            name = service["metadata"]["name"].upper().replace("-", "_")
            found |= {f"{name}_SERVICE_HOST": HOST, f"{name}_SERVICE_PORT": local[0]}
    return found


def _ports(container: Object, place: Place) -> dict[str, str]:
    """The variables for ports: PORT is the local port of the first container port, PORT_<NAME>
    of each that has a name."""
    ports = container.get("ports") or []
    found = {
        f"PORT_{port['name'].upper().replace('-', '_')}": str(place.ports[port["containerPort"]])
        for port in ports
        if port.get("name")
    }
    return found | ({"PORT": str(place.ports[ports[0]["containerPort"]])} if ports else {})


def _from_source(source: Object, namespace: str, store: Store) -> dict[str, str]:
    prefix = source.get("prefix", "")
    for key, kind in (("secretRef", kinds.SECRET), ("configMapRef", kinds.CONFIG_MAP)):
        if reference := source.get(key):
            obj = referred(kind, namespace, reference, store)
            return {f"{prefix}{k}": v.decode() for k, v in content(kind, obj).items()}
    return {}


def _value(
    variable: Object, pod: Object, known: Mapping[str, str], store: Store, place: Place
) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return expand(variable.get("value", ""), known)
    if reference := source.get("fieldRef"):
        return pod_field(pod, reference["fieldPath"], place)
    for key, kind in (("secretKeyRef", kinds.SECRET), ("configMapKeyRef", kinds.CONFIG_MAP)):
        if reference := source.get(key):
            return _keyed(kind, pod["metadata"]["namespace"], reference, store)
    raise ConfigError(f"the source of variable {variable['name']} is not available here")


def _keyed(kind: Kind, namespace: str, reference: Object, store: Store) -> str | None:
    values = content(kind, referred(kind, namespace, reference, store))
    if reference["key"] in values:
        return values[reference["key"]].decode()
    if reference.get("optional"):
        return None
    name = f"{namespace}/{reference['name']}"
    raise ConfigError(f"couldn't find key {reference['key']} in {kind.kind} {name}")


def referred(kind: Kind, namespace: str, reference: Object, store: Store) -> Object:
    """The Secret or ConfigMap of a reference; an absent optional one is empty."""
    found = store.get(kind, namespace, reference["name"])
    if found is None and not reference.get("optional"):
        raise ConfigError(f'{kind.kind.lower()} "{reference["name"]}" not found')
    return found or {}


def content(kind: Kind, obj: Object) -> dict[str, bytes]:
    if kind is kinds.SECRET:
        return {k: base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    binary = {k: base64.b64decode(v) for k, v in (obj.get("binaryData") or {}).items()}
    return {k: v.encode() for k, v in (obj.get("data") or {}).items()} | binary


def pod_field(pod: Object, path: str, place: Place | None = None) -> str:
    """The value of a pod's field, as the downward API has it: of its status in variables only, all
    labels or annotations in volumes only."""
    metadata = pod["metadata"]
    subscript = re.match(r"^metadata\.(labels|annotations)\['([^']+)'\]$", path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    known = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": pod["spec"]["nodeName"],
        "spec.serviceAccountName": pod["spec"]["serviceAccountName"],
    }
    if place is not None:
        known |= {"status.podIP": place.address, "status.hostIP": HOST}
    else:
        # https://pkg.go.dev/k8s.io/kubernetes/pkg/fieldpath#FormatMap
        for field in ("labels", "annotations"):
            pairs = sorted((metadata.get(field) or {}).items())
            lines = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in pairs]
            known[f"metadata.{field}"] = "\n".join(lines)
    if path not in known:
        raise ConfigError(f"field {path} is not available here")
    return str(known[path])
