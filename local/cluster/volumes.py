"""Volumes as directories: their content is written once, before the containers start.

Files are 0600 whatever `defaultMode` says: everything runs as one user here. Unlike upstream, a
Secret that changes later does not reach the files of running pods.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from local.cluster import kinds
from local.cluster.environment import ConfigError, content, pod_field, referred
from local.storage import private_directory, write_private

if TYPE_CHECKING:
    from local.cluster.kinds import Kind, Object
    from local.cluster.store import Store

SOURCES: tuple[tuple[str, Kind, str], ...] = (
    ("secret", kinds.SECRET, "secretName"),
    ("configMap", kinds.CONFIG_MAP, "name"),
)


class MountError(Exception):
    """A volume that cannot be mounted, as its event says it."""


def fill(volume: Object, directory: Path, pod: Object, store: Store) -> None:
    """Makes the directory of any volume but a CSI one. Raises `MountError`."""
    private_directory(directory)
    try:
        for name, data in _files(volume, pod, store).items():
            write_file(directory, name, data)
    except ConfigError as error:
        raise MountError(
            f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
        ) from error


def write_file(directory: Path, name: str, data: bytes) -> None:
    """Raises `MountError` for a name that leads out of the volume."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        raise MountError(f"path {name!r} of a volume's file must stay below the volume")
    target = directory / relative
    private_directory(target.parent)
    write_private(target, data)


def _files(volume: Object, pod: Object, store: Store) -> dict[str, bytes]:
    if "emptyDir" in volume:
        return {}
    if volume.get("projected"):
        found: dict[str, bytes] = {}
        for source in volume["projected"].get("sources") or []:
            found |= _source_files(source, pod, store, projected=True)
        return found
    return _source_files(volume, pod, store, projected=False)


def _source_files(
    source: Object, pod: Object, store: Store, *, projected: bool
) -> dict[str, bytes]:
    for key, kind, name_field in SOURCES:
        if reference := source.get(key):
            name = reference["name" if projected else name_field]
            named = {**reference, "name": name}
            return _items(kind, named, pod["metadata"]["namespace"], store)
    if reference := source.get("downwardAPI"):
        items = reference.get("items") or []
        return {i["path"]: pod_field(pod, i["fieldRef"]["fieldPath"]).encode() for i in items}
    sources = ", ".join(key for key in source if key != "name")
    raise ConfigError(f"volumes of type {sources} are not available here")


def _items(kind: Kind, reference: Object, namespace: str, store: Store) -> dict[str, bytes]:
    values = content(kind, referred(kind, namespace, reference, store))
    chosen = reference.get("items")
    if not chosen:
        return values
    missing = [item["key"] for item in chosen if item["key"] not in values]
    if missing and not reference.get("optional"):
        raise ConfigError(f"references non-existent {kind.kind.lower()} key: {missing[0]}")
    return {item["path"]: values[item["key"]] for item in chosen if item["key"] in values}


def mounts(container: Object, volumes: Path) -> dict[str, Path]:
    """Mount paths and the directories, or files for a `subPath`, that stand for them."""
    found = {}
    for mount in container.get("volumeMounts") or []:
        path = mount["mountPath"].rstrip("/") or "/"
        found[path] = volumes / mount["name"] / mount.get("subPath", "")
    return found
