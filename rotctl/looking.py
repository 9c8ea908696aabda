"""The commands that look: list, show, watch, evidence, doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from rotctl import drawing
from rotctl.command import (
    Span,
    app_of,
    by_option,
    cli,
    common,
    credential_completion,
    looked_up,
    name_of,
    now,
    print_json,
    rotation_argument,
    screen,
    waive_option,
)
from rotctl.exits import ClientError, Exit
from rotctl.following import follow
from rotctl.words import evidence_of

if TYPE_CHECKING:
    from rotctl.client import App


@cli.command("list")
@click.option("--rotations", is_flag=True, help="The rotations of the last 30 days, newest first.")
@click.option("--credential", default="", help="Only this credential's rotations.")
@common
def list_(rotations: bool, credential: str, profile: str | None, as_json: bool) -> None:
    """List credentials: who serves, when it expires, what stands in the way."""
    app = app_of(profile)
    if rotations or credential:
        listed = app.all_rotations(credential)
        if as_json:
            return print_json({"rotations": listed})
        return screen().print(drawing.rotations(listed, now()))
    found = app.credentials()
    if as_json:
        return print_json({"credentials": found})
    return screen().print(drawing.credentials(found, now()))


@cli.command()
@rotation_argument
@common
def show(rotation: str, profile: str | None, as_json: bool) -> None:
    """Show a rotation as it stands, or a credential's newest one."""
    app = app_of(profile)
    record = looked_up(app, rotation)
    if as_json:
        return print_json(record)
    console = screen()
    console.print(drawing.tree(record, None, now()))
    return console.print(app.page(record["rotation"]), soft_wrap=True)


@cli.command()
@rotation_argument
@click.option(
    "--until",
    type=click.Choice(["end", "decision"]),
    default="end",
    show_default=True,
    help="When to stop: at the end, or at a wait for a decision too (exit code 20).",
)
@click.option("--timeout", type=Span(), help="Stop after this time, such as 30m.")
@click.option("--interval", type=Span(), default=1.0, help="Time between looks; 1s unless given.")
@common
def watch(
    *,
    rotation: str,
    until: str,
    timeout: float | None,
    interval: float,
    profile: str | None,
    as_json: bool,
) -> Exit:
    """Watch a rotation until it ends; the exit code says how."""
    app = app_of(profile)
    record = looked_up(app, rotation)
    return follow(
        app,
        record["rotation"],
        decision=until == "decision",
        timeout=timeout,
        interval=interval,
        as_json=as_json,
    )


@cli.command()
@rotation_argument
@common
def evidence(rotation: str, profile: str | None, as_json: bool) -> None:
    """Show what speaks for and against an approval, looked at now."""
    app = app_of(profile)
    record = looked_up(app, rotation)
    kept = evidence_of(record) if record.get("outcome") else None
    found = kept or app.evidence(record["rotation"])
    if as_json:
        return print_json(found)
    return screen().print(drawing.evidence_tree(record, found))


@cli.command()
@click.argument("credential", required=False, shell_complete=credential_completion)
@waive_option
@by_option
@common
def doctor(
    *,
    credential: str | None,
    waive: tuple[str, ...],
    by: str | None,
    profile: str | None,
    as_json: bool,
) -> Exit:
    """Try whether a credential would rotate now, changing nothing; of all unless one is named."""
    app = app_of(profile)
    asked = {"waive": list(waive), "by": name_of(app, by)}
    if credential:
        answers = [app.dry_run(credential, **asked)]
    else:
        answers = [_dry_run(app, one["credential"], asked) for one in app.credentials()]
    if as_json:
        print_json({"credentials": answers})
    else:
        for answer in answers:
            screen().print(drawing.dry_run(answer))
    return Exit.DONE if all(drawing.ready(one) for one in answers) else Exit.REFUSED


def _dry_run(app: App, credential: str, asked: dict[str, Any]) -> dict[str, Any]:
    """One dry run of many: what keeps one from being tried hides no other."""
    try:
        return app.dry_run(credential, **asked)
    except ClientError as error:
        if error.exit_code is not Exit.PROBLEM:
            raise
        found = {"severity": "waits", "code": error.more.get("code", ""), "text": error.text}
        return {
            "credential": credential,
            "ready": False,
            "findings": [{**found, "remedy": error.cure}],
        }
