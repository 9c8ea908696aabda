"""`rotctl`, `python -m rotctl`, and `kubectl rotation`, which finds it as `kubectl-rotation`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rotctl import acting, adopting, applying, configuring, looking, rehearsing, waving
from rotctl.command import cli
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Sequence

# Each adds its own to `cli`.
COMMANDS = (acting, adopting, applying, configuring, looking, rehearsing, waving)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command, and answers with its exit code. An error is a sentence with its cure on
    stderr, or a JSON document there with `--json`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = "kubectl rotation" if Path(sys.argv[0]).name == "kubectl-rotation" else "rotctl"
    try:
        code = cli.main(
            given, prog_name=name, complete_var="_ROTCTL_COMPLETE", standalone_mode=False
        )
    except ClientError as error:
        said = json.dumps({"error": error.document}) if "--json" in given else f"{name}: {error}"
        click.echo(said, err=True)
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; a rotation goes on by itself", err=True)
        return Exit.INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read has gone, and wants no more
        return Exit.DONE
    return int(code or Exit.DONE)


if __name__ == "__main__":
    sys.exit(main())
