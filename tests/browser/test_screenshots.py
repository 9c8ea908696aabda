"""The pictures of the guides can be taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser import chromium, screenshots

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
@pytest.mark.skipif(chromium.executable() is None, reason="no Chromium: apt-get install chromium")
def test_every_picture_is_taken(tmp_path: Path) -> None:
    assert screenshots.main([str(tmp_path)]) == 0
    taken = {path.stem: path.read_bytes() for path in tmp_path.glob("*.png")}
    assert taken.keys() == {name for name, *_ in (*screenshots.SHOTS, *screenshots.ENDED)}
    assert all(
        picture.startswith(b"\x89PNG") and len(picture) > 20_000 for picture in taken.values()
    )
