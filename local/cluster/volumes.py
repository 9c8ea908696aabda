"""Volumes as directories: their content is written once, before the containers start.

Files are 0600 whatever `defaultMode` says: everything runs as one user here. A Secret or ConfigMap
that changes later reaches the files of running pods some time after that, as upstream, and no file
that is mounted by `subPath`.
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


def shows(volume: Object, kind: Kind, name: str) -> bool:
    """Whether a volume has the keys of this Secret or ConfigMap as files."""
    projected = (volume.get("projected") or {}).get("sources") or []
    for key, known, name_field in SOURCES:
        names = [(volume.get(key) or {}).get(name_field)]
        names += [(each.get(key) or {}).get("name") for each in projected]
        if known is kind and name in names:
            return True
    return False


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
    """Mount paths and the directories, or files for a `subPath`, that stand for them.

    Such a file is another one than the volume's, which may be replaced.
    """
    found = {}
    for mount in container.get("volumeMounts") or []:
        path = mount["mountPath"].rstrip("/") or "/"
        place = volumes / mount["name"] / mount.get("subPath", "")
        if place.is_file():
            kept = volumes / f".{mount['name']}" / mount["subPath"]
            write_file(kept.parent, kept.name, place.read_bytes())
            place = kept
        found[path] = place
    return found
