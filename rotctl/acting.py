"""The commands that act: start, retry, approve, reject, cancel."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from rotctl import drawing
from rotctl.command import (
    Span,
    app_of,
    ask,
    by_option,
    cli,
    common,
    credential_completion,
    looked_up,
    name_of,
    print_json,
    rotation_argument,
    screen,
    waive_option,
)
from rotctl.exits import ClientError, Exit
from rotctl.following import follow
from rotctl.words import (
    cancelled_text,
    decision_text,
    points,
    waits_before_swap,
    waits_for_decision,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rotctl.client import App
    from rotctl.words import Record

CHANNEL = "rotctl"
RIGHT_AWAY = 30.0  # seconds in which a decision that was handed over is recorded


def follow_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command that starts a rotation what it takes to follow it."""
    for option in (
        click.option("--timeout", type=Span(), help="With --watch: stop after this time."),
        click.option("--watch", is_flag=True, help="Watch it until it ends."),
    ):
        command = option(command)
    return command


outside_option = click.option(
    "--outside-window", metavar="WHY", help="Wait for no window, and say why, for the record."
)


@cli.command()
@click.argument("credential", shell_complete=credential_completion)
@click.option("--reason", default="", help="Why, for the record.")
@waive_option
@outside_option
@by_option
@follow_options
@common
def start(  # noqa: PLR0913 - its options
    *,
    credential: str,
    reason: str,
    waive: tuple[str, ...],
    outside_window: str | None,
    by: str | None,
    watch: bool,
    timeout: float | None,
    profile: str | None,
    as_json: bool,
) -> Exit | None:
    """Start a rotation of a credential."""
    app = app_of(profile)
    body = {"credential": credential, "reason": reason, "waive": list(waive)}
    answer = app.start(**body, **_outside(outside_window), by=name_of(app, by))
    return _started(app, answer, watch, timeout, as_json)


@cli.command()
@rotation_argument
@click.option("--reason", default="", help="Why, for the record.")
@waive_option
@outside_option
@by_option
@follow_options
@common
def retry(  # noqa: PLR0913 - its options
    *,
    rotation: str,
    reason: str,
    waive: tuple[str, ...],
    outside_window: str | None,
    by: str | None,
    watch: bool,
    timeout: float | None,
    profile: str | None,
    as_json: bool,
) -> Exit | None:
    """Start a rotation again that was aborted, refused or rolled back."""
    app = app_of(profile)
    record = looked_up(app, rotation)
    body = {"reason": reason, "waive": list(waive), "by": name_of(app, by)}
    answer = app.retry(record["rotation"], **body, **_outside(outside_window))
    return _started(app, answer, watch, timeout, as_json)


def _outside(why: str | None) -> dict[str, str]:
    """The field of a request that waits for no window."""
    if why is not None and not why.strip():
        raise click.BadParameter("say why it waits for no window", param_hint="--outside-window")
    return {} if why is None else {"outsideWindow": why}


def _started(
    app: App, answer: dict[str, Any], watch: bool, timeout: float | None, as_json: bool
) -> Exit | None:
    rotation = answer["rotation"]
    if as_json and not watch:
        print_json(answer)
        return None
    if not as_json:
        click.echo(f"started {rotation}")
        click.echo(app.page(rotation))
    if watch:
        return follow(app, rotation, timeout=timeout, as_json=as_json)
    return None


yes_option = click.option("--yes", is_flag=True, help="Do not ask: it is meant.")
comment_option = click.option("--comment", default="", help="A comment, for the record.")


@cli.command()
@rotation_argument
@comment_option
@by_option
@yes_option
@click.option(
    "--despite-evidence", is_flag=True, help="Approve although not all evidence speaks for it."
)
@common
def approve(  # noqa: PLR0913 - its options
    *,
    rotation: str,
    comment: str,
    by: str | None,
    yes: bool,
    despite_evidence: bool,
    profile: str | None,
    as_json: bool,
) -> None:
    """Approve what it asks: before the swap that traffic moves; after it that the replaced login
    goes, which cannot be undone."""
    app = app_of(profile)
    record = looked_up(app, rotation, running=True)
    _weigh(app, record, despite_evidence, as_json)
    active, standby = record["active"], record["standby"]
    goes = (
        f"{record['rotation']}: approve, and take the {active} login away? Its pods end, its "
        f"password and its secret's versions go; only {standby} is left. It cannot be undone."
    )
    moves = (
        f"{record['rotation']}: approve, and move traffic from {active} to {standby}? The record "
        f"says afterwards whether another decision is asked for before {active} is taken away."
    )
    question = moves if waits_before_swap(record) else goes
    ask(question, yes=yes, as_json=as_json)
    _decide(app, record, "approve", comment=comment, by=name_of(app, by), as_json=as_json)


def _weigh(app: App, record: Record, despite: bool, as_json: bool) -> None:
    """Shows the evidence. Raises `ClientError` where some is missing or speaks against it, unless
    that is acknowledged: by the option, or by the credential's name at the terminal."""
    if not waits_for_decision(record):
        return  # the app says what is the matter
    found = app.evidence(record["rotation"])
    before = waits_before_swap(record)
    seen = points(found, record["active"], before=before)
    against = [one.text for one in seen if not one.good]
    if not as_json:
        screen().print(drawing.evidence_tree(record, found))
    if not against or despite:
        return
    text = f"not all evidence speaks for it: {'; '.join(against)}"
    if as_json or not sys.stdin.isatty():
        cure = "look at `rotctl evidence`; --despite-evidence approves all the same"
        raise ClientError(text, cure, Exit.PROBLEM)
    click.echo(text, err=True)
    typed = click.prompt(f"type {record['credential']} to approve all the same", err=True)
    if typed != record["credential"]:
        raise click.Abort


@cli.command()
@rotation_argument
@comment_option
@by_option
@yes_option
@common
def reject(
    *,
    rotation: str,
    comment: str,
    by: str | None,
    yes: bool,
    profile: str | None,
    as_json: bool,
) -> None:
    """Reject: end it before the swap, or go back to the slot that served before."""
    app = app_of(profile)
    record = looked_up(app, rotation, running=True)
    back = f"go back to {record['active']}"
    what = "end it, before traffic moves" if waits_before_swap(record) else back
    question = f"{record['rotation']}: reject, and {what}?"
    ask(question, yes=yes, as_json=as_json)
    _decide(app, record, "reject", comment=comment, by=name_of(app, by), as_json=as_json)


def _decide(
    app: App, record: Record, decision: str, *, comment: str, by: str, as_json: bool
) -> None:
    rotation, before = record["rotation"], waits_before_swap(record)
    # An app of a release before this field knows one decision alone, and has no `before`.
    gate = {"gate": "before" if before else "after"} if record.get("before") else {}
    body = {"decision": decision, "comment": comment, "channel": CHANNEL, **gate}
    answer = app.decide(rotation, **body, by=by)
    kept = "decidedBefore" if before else "decision"
    _recorded(app, rotation, answer, "decision", as_json=as_json, kept=kept)


@cli.command()
@rotation_argument
@comment_option
@by_option
@yes_option
@common
def cancel(
    *,
    rotation: str,
    comment: str,
    by: str | None,
    yes: bool,
    profile: str | None,
    as_json: bool,
) -> None:
    """Cancel a rotation before its swap: what it has made is cleaned up."""
    app = app_of(profile)
    record = looked_up(app, rotation, running=True)
    ask(f"{record['rotation']}: cancel it?", yes=yes, as_json=as_json)
    said = {"comment": comment, "by": name_of(app, by), "channel": CHANNEL}
    answer = app.cancel(record["rotation"], **said)
    _recorded(app, record["rotation"], answer, "cancelled", as_json=as_json)


def _recorded(
    app: App,
    rotation: str,
    answer: dict[str, Any],
    key: str,
    *,
    as_json: bool,
    kept: str | None = None,
) -> None:
    """Says that it counts, once the record has it under the key, or as what it is `kept`. Raises
    `ClientError` if that takes too long, or if the rotation has ended without it."""
    found, ended, until = answer.get(key), False, time.monotonic() + RIGHT_AWAY
    while not found and not ended and time.monotonic() < until:
        record = app.rotation(rotation)
        found, ended = record.get(kept or key), bool(record.get("outcome"))
        if not found and not ended:
            time.sleep(1.0)
    if not found:
        text = f"it was handed over to {rotation}, which has not recorded it"
        cure = "look at `rotctl show`: whether it counts stands there"
        raise ClientError(text, cure, Exit.PROBLEM if ended else Exit.TIMEOUT)
    if as_json:
        print_json({"rotation": rotation, key: found})
    else:
        click.echo(f"{rotation}: {decision_text({key: found}) or cancelled_text({key: found})}")
