"""The commands that act: start, incident, retry, approve, reject, cancel."""

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
    confirms,
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
@click.argument("credential", required=False, shell_complete=credential_completion)
@click.option("--reason", required=True, help="Where it has leaked, for the record.")
@click.option(
    "--cut",
    type=click.Choice(["after", "first"]),
    default="after",
    show_default=True,
    help="When the leaked login ends: once another one serves, or first.",
)
@click.option("--slot", type=click.Choice(["blue", "green"]), help="The slot that has leaked.")
@click.option("--role", help="The role that has leaked, instead of --slot.")
@click.option("--server", metavar="HOST", help="All credentials on this database host.")
@click.option("--skip-not-allowed", is_flag=True, help="With --server: those that can be.")
@click.option("--confirm", metavar="NAME", help="The credential, or the server, once more.")
@waive_option
@by_option
@follow_options
@common
def incident(  # noqa: PLR0913 - its options
    *,
    credential: str | None,
    reason: str,
    cut: str,
    slot: str | None,
    role: str | None,
    server: str | None,
    skip_not_allowed: bool,
    confirm: str | None,
    waive: tuple[str, ...],
    by: str | None,
    watch: bool,
    timeout: float | None,
    profile: str | None,
    as_json: bool,
) -> Exit | None:
    """Call an incident: a password has leaked, and is replaced at once."""
    if (credential is None) == (server is None):
        raise click.UsageError("name a credential, or a whole server with --server")
    name = credential or str(server)
    again = _named_again(name, cut, confirm, as_json=as_json)
    app = app_of(profile)
    said = {"compromised": True, "cut": cut, "reason": reason, "by": name_of(app, by)}
    if server is not None:
        more = {"confirmServer": again, "skipNotAllowed": skip_not_allowed}
        return _of_server(app.start(server=server, **said, **more), as_json)
    body = {"credential": credential, "confirmCredential": again, "waive": list(waive)}
    answer = app.start(**body, **said, slot=slot or "", role=role or "")
    return _started(app, answer, watch, timeout, as_json)


def _named_again(name: str, cut: str, given: str | None, *, as_json: bool) -> str:
    """The name once more, as it was given or is typed now. Raises `ClientError` where nobody is
    there who could type it, or another one was meant."""
    typed = given
    if typed is None:
        if as_json or not sys.stdin.isatty():
            text = "nobody is at a terminal who could type the name once more"
            raise ClientError(text, f"give --confirm {name} if it is meant", Exit.USAGE)
        then = "ends now, and requests fail until the other slot is up"
        what = then if cut == "first" else "is replaced now, and then ends"
        click.echo(f"{name}: the login {what}.", err=True)
        typed = click.prompt("type the name once more", err=True)
    if typed != name:
        raise ClientError(f"{typed!r} is not {name!r}", "nothing was begun", Exit.USAGE)
    return typed


def _of_server(answer: dict[str, Any], as_json: bool) -> Exit | None:
    """Says what became of each credential of a server; a problem where any was not begun."""
    results = answer["results"]
    failed = [one for one in results if "rotation" not in one]
    if as_json:
        print_json(answer)
    else:
        for one in results:
            became = one.get("rotation") or f"not begun: {one['detail']}"
            click.echo(f"{one['credential']}: {became}")
    return Exit.PROBLEM if failed else None


@cli.command()
@rotation_argument
@click.option("--reason", default="", help="Why, for the record.")
@click.option("--confirm", metavar="NAME", help="Of an incident: the credential once more.")
@waive_option
@outside_option
@by_option
@follow_options
@common
def retry(  # noqa: PLR0913 - its options
    *,
    rotation: str,
    reason: str,
    confirm: str | None,
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
    asked = record.get("request") or {}
    if asked.get("compromised"):
        name, cut = record["credential"], asked.get("cut") or "after"
        body["confirmCredential"] = _named_again(name, cut, confirm, as_json=as_json)
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
    goes, which cannot be undone; of an incident that what was done is confirmed."""
    app = app_of(profile)
    record = looked_up(app, rotation, running=True)
    if confirms(record):
        ask(f"{record['rotation']}: confirm what was done?", yes=yes, as_json=as_json)
        _decide(app, record, "approve", comment=comment, by=name_of(app, by), as_json=as_json)
        return
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
    """Reject: end it before the swap, or go back to the slot that served before. Of an incident:
    say that it was wrong."""
    app = app_of(profile)
    record = looked_up(app, rotation, running=True)
    what = f"reject, and go back to {record['active']}"
    if waits_before_swap(record):
        what = "reject, and end it, before traffic moves"
    if confirms(record):
        what = "say that it was wrong, which undoes nothing"
    question = f"{record['rotation']}: {what}?"
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
    kept = "confirmation" if confirms(record) else "decidedBefore" if before else "decision"
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
        said = cancelled_text({key: found})
        if kept == "confirmation":
            said = decision_text({"approval": {"confirms": True}, kept: found})
        elif key == "decision":
            said = decision_text({key: found})
        click.echo(f"{rotation}: {said}")
