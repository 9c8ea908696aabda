"""Where the two programs are that this engine needs: nothing of it is a Python package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from local.process import ROOT, StartError

BINARY, AZURITE = "DURABLE_HOST", "AZURITE"
INSTALLED = ROOT / ".azurite" / "node_modules" / ".bin" / "azurite"


NO_AZURITE = f"Azurite is not here: `make azurite` installs it with npm, or set {AZURITE} to it"


def missing() -> list[str]:
    """What this machine lacks, a sentence each."""
    sentences = []
    if _binary() is None:
        sentences.append(
            f"{BINARY} names no program: set it to the durable host, which"
            f" `dotnet publish {Path(__file__).parent.relative_to(ROOT) / 'src'}` makes"
        )
    if _azurite() is None:
        sentences.append(NO_AZURITE)
    return sentences


def demand() -> tuple[Path, Path]:
    """The durable host and Azurite. Raises `StartError` that says what is missing."""
    binary, azurite = _binary(), _azurite()
    if binary is None or azurite is None:
        raise StartError(f"the engine `azure` cannot run here: {'; '.join(missing())}")
    return binary, azurite


def azurite() -> Path:
    """Azurite alone. Raises `StartError` that says what is missing."""
    found = _azurite()
    if found is None:
        raise StartError(NO_AZURITE)
    return found


def _binary() -> Path | None:
    return _program(os.environ.get(BINARY))


def _azurite() -> Path | None:
    named = os.environ.get(AZURITE)
    return _program(named) if named else _program(str(INSTALLED)) or _program("azurite")


def _program(name: str | None) -> Path | None:
    """An executable file, by path or on PATH."""
    found = shutil.which(name) if name else None
    return None if found is None else Path(found).resolve()
