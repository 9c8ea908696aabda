"""The product's own SQL and manifests, which an installed `rotctl` has a copy of."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent
# A wheel has them beside this module (pyproject.toml, force-include); a clone has them where they
# are kept.
FOLDERS = (HERE / "infra", HERE.parents[1] / "infra")


def text(name: str) -> str:
    """A file below `infra/`. Raises `FileNotFoundError`."""
    for folder in FOLDERS:
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8")
    raise FileNotFoundError(name)
