"""The entry that is written, by the product's own check."""

from __future__ import annotations

from rotctl.exits import ClientError, Exit


def problems(text: str) -> list[str]:
    """What a credentials.yaml would be refused for, each with its path. Raises `ClientError`."""
    try:
        from rotation.config import document, examine
    except ImportError as error:
        said = f"the check of credentials.yaml is not here: {error}"
        cure = "it comes with the app's code: install credential-rotation[rotctl] with pip"
        raise ClientError(said, cure, Exit.USAGE) from None
    _, found = examine(document.one(text))
    return [str(one) for one in found]
