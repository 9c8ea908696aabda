"""`check` and `schema`: the two commands that need no app, and have its configuration's code."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from rotctl.exits import ClientError, Exit

NOT_HERE = (
    'they come with the app\'s code: install with `pip install "credential-rotation[rotctl]"`'
)


def check(source: str, form: str, *, files: bool) -> Exit:
    """Prints what is wrong with a file or a folder, and what is doubtful."""
    try:
        from rotation.config import check as checking
    except ImportError as error:
        raise ClientError(f"check is not here: {error}", NOT_HERE, Exit.USAGE) from None
    checked = checking.check(source, files=files)
    out, err = checking.report(checked, cast("checking.Format", form))
    click.echo(out, nl=False)
    click.echo(err, nl=False, err=True)
    return Exit.DONE if checked.valid else Exit.PROBLEM


def schema() -> str:
    """The JSON Schema of credentials.yaml, as `make generated` writes it."""
    try:
        from rotation import config
    except ImportError as error:
        raise ClientError(f"schema is not here: {error}", NOT_HERE, Exit.USAGE) from None
    return Path(config.__file__).with_name("credentials.schema.json").read_text(encoding="utf-8")
