"""What images run: a file that maps image names to command lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from pathlib import Path


class ImageError(Exception):
    """An image that cannot be pulled."""


class Images:
    """YAML or JSON: `{"orders-web:1.0": ["python", "-m", "local.workload"]}`. Read at each pull, so
    that an image can be published while the cluster runs."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pull(self, image: str) -> list[str]:
        try:
            known = yaml.safe_load(self._path.read_text(encoding="utf-8")) or {}
        except (OSError, yaml.YAMLError) as error:
            raise ImageError(f"the list of images {self._path} cannot be read: {error}") from error
        argv = known.get(image)
        if not isinstance(argv, list) or not argv:
            raise ImageError(
                f'failed to pull and unpack image "{image}": not found in {self._path.name}'
            )
        return [str(part) for part in argv]
