"""One rotation on the local stack, start to finish, under load, and the proof that it worked.

    python -m local.demo [--yes | --reject] [--crash] [--json FILE] [--keep]        (make demo)

Exit code 0 only if no request failed and every check holds.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_never

from local import engines, proof, world
from local.load import Load
from local.process import StartError
from local.stack import Options, Stack
from local.up import usage, write_profile
from rotation.model.catalogue import Outcome, ending
from rotctl.narration import Narration

if TYPE_CHECKING:
    from collections.abc import Sequence

SLOW = 3.0  # seconds more that the pods of the second workload take to be ready, as a JVM does
RATE = 60.0  # requests a second, over both workloads
# Those with a connection for each request, the one with a pool, and the others, which keep theirs.
# Of several connections a pool leaves some unused, and pods that end wait for such a quiet client
# up to fifteen seconds: tests/e2e have them.
WORKERS, FRESH, POOLED = 12, 4, 1
PERSON = world.APPROVERS[0]
ROTCTL = Path(sys.executable).with_name("rotctl")
LOAD_EVERY = 5.0  # seconds between two lines on the load


@dataclass
class Screen:
    """Lines with the seconds since the start; nothing is overwritten, so a log reads as well."""

    began: float = field(default_factory=time.monotonic)
    narration: Narration = field(default_factory=Narration)
    load: Load | None = None
    told: tuple[float, dict[str, int]] = (0.0, {})
    colours: bool = field(default_factory=sys.stdout.isatty)

    def say(self, text: str = "", colour: str = "") -> None:
        stamp = f"{time.monotonic() - self.began:6.1f} s  " if text else ""
        if self.colours and colour:
            text = f"\033[{colour}m{text}\033[0m"
        sys.stdout.write(f"{stamp}{text}\n")
        sys.stdout.flush()

    def record(self, record: dict[str, Any]) -> None:
        """A rotation's progress in the words of `rotctl watch`, and the load so far."""
        for line in self.narration.new(record):
            self.say(line)
        self.answered()

    def answered(self) -> None:
        """How many requests each role has answered: now and then, and when another one begins to.

        After the swap the load goes on as it was, and the roles change.
        """
        if self.load is None:
            return
        report = self.load.report()
        roles: Counter[str] = Counter()
        for counted in report.roles.values():
            roles.update(counted)
        at, before = self.told
        if roles.keys() == before.keys() and time.monotonic() - at < LOAD_EVERY:
            return
        self.told = time.monotonic(), dict(roles)
        by_role = ", ".join(f"{count} by {role}" for role, count in sorted(roles.items()))
        self.say(
            f"load: {report.requests} requests, {report.failed} failed; answered: {by_role}", "2"
        )


def main(argv: Sequence[str] | None = None) -> int:
    given = arguments(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        options = Options(engine=given.engine, warm_up=SLOW, signed_links=True)
        stack = Stack(Path(directory), options)
        try:
            return run(stack, given)
        except KeyboardInterrupt:
            sys.stderr.write("interrupted; everything is being ended\n")
            return 130
        except (StartError, TimeoutError) as error:
            sys.stderr.write(f"{error}\n")
            return 1
        finally:
            stack.stop()


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make demo ARGS=...",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--yes", action="store_true", help="approve over HTTP without asking")
    how.add_argument("--reject", action="store_true", help="reject over HTTP: shows the rollback")
    parser.add_argument("--crash", action="store_true", help="SIGKILL the host in the middle")
    engines.add_option(parser)
    parser.add_argument("--json", type=written, metavar="FILE", help="write what was measured")
    parser.add_argument("--keep", action="store_true", help="leave the stack up until Ctrl-C")
    return parser.parse_args(argv)


def written(text: str) -> Path:
    """The path of a file that can be written, so that nobody waits for a run that is not kept."""
    path = Path(text)
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is a directory: name a file")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{path.parent} is no directory: make it first")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise argparse.ArgumentTypeError(f"{path} cannot be written: it is closed to you")
    return path


def run(stack: Stack, given: argparse.Namespace) -> int:
    screen = Screen()
    stack.start(lambda what: screen.say(f"starting {what}"))
    passwords = [proof.Passwords.read(stack)]
    urls = [stack.owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
    load = Load(urls, rate=RATE, workers=WORKERS, fresh=FRESH, pooled=POOLED).start()
    screen.load = load
    try:
        screen.say(f"{RATE:.0f} requests a second to {' and '.join(urls)}")
        began = time.monotonic()
        record = rotate(stack, screen, given, passwords)
        seconds = time.monotonic() - began
        time.sleep(1)  # a second of load on what is left, which must not fail either
    finally:
        report = load.stop()
    serving = record["standby" if record["outcome"] == Outcome.COMPLETED else "active"]
    checks = proof.check(stack, record, serving, passwords)
    for check in checks:
        screen.say(f"{'proved' if check.holds else 'FAILED'}  {check.what}", check.colour)
    rejected = decision_of(record) == "reject"
    expected = Outcome.ROLLED_BACK if rejected else Outcome.COMPLETED
    good = record["outcome"] == expected and not report.failed and all(c.holds for c in checks)
    if given.json:
        write(given.json, record, report.as_json(), checks, seconds)
    for failure in report.failures:
        screen.say(f"failed request: {failure}", "31")
    if not good:
        screen.say(f"outcome {record['outcome']}: {record['outcomeReason']}", "31")
    sys.stdout.write(last_line(record, seconds, report.requests, report.failed) + "\n")
    sys.stdout.flush()
    if given.keep:
        keep(stack)
    return 0 if good else 1


def keep(stack: Stack) -> None:
    """Says how to go on with what is left, and waits for Ctrl-C."""
    try:
        sys.stdout.write(f"{usage(stack)}\n\nCtrl-C ends everything.\n")
        sys.stdout.flush()
        signal.pause()
    except KeyboardInterrupt:
        return


def decision_of(record: dict[str, Any]) -> str | None:
    return record["decision"]["decision"] if record["decision"] else None


def last_line(record: dict[str, Any], seconds: float, requests: int, failed: int) -> str:
    active, standby = record["active"], record["standby"]
    match outcome := Outcome(record["outcome"]):
        case Outcome.COMPLETED:
            moved = f"rotated {world.CREDENTIAL}: {active} -> {standby}"
        case Outcome.ROLLED_BACK:
            moved = f"rolled back {world.CREDENTIAL}: {standby} -> {active}"
        case (
            Outcome.ABORTED
            | Outcome.REFUSED
            | Outcome.SKIPPED
            | Outcome.SUPERSEDED
            | Outcome.NEEDS_ATTENTION
        ):
            moved = f"did not rotate {world.CREDENTIAL}: {ending(outcome).headline}"
        case _:
            assert_never(outcome)
    return f"{moved} in {seconds:.1f} s, {requests} requests, {failed} failed"


def rotate(
    stack: Stack, screen: Screen, given: argparse.Namespace, passwords: list[proof.Passwords]
) -> dict[str, Any]:
    """Rotates from the event to the end, and returns the record. Adds what is read on the way."""
    rotation = announce(stack, screen)
    if given.crash:
        stack.client.follow(rotation, lambda r: r["stage"] == "prepare", seen=screen.record)
        stack.components["host"].kill()
        screen.say("killed the Functions host (SIGKILL) in the middle of `prepare`", "33")
        stack.start_host()
        screen.say("started it again: the rotation goes on", "33")
    record = stack.client.follow(rotation, waits_or_ended, seen=screen.record)
    if record["outcome"] is None:
        passwords.append(proof.Passwords.read(stack))
        show_evidence(stack, screen, record)
        decide(stack, screen, record, given)
    return stack.client.follow(rotation, lambda r: r["outcome"], seen=screen.record)


def waits_or_ended(record: dict[str, Any]) -> bool:
    return bool(record["outcome"] or (record["approval"] or {}).get("event"))


def announce(stack: Stack, screen: Screen) -> str:
    """Subscribes and delivers as Event Grid does, and returns the id of the rotation that it
    starts."""
    code = "validation-of-the-demo"
    event = {**stack.client.near_expiry("blue"), "data": {"validationCode": code}}
    event["eventType"] = "Microsoft.EventGrid.SubscriptionValidationEvent"
    shaken = stack.client.webhook([event], "SubscriptionValidation")
    if shaken.json != {"validationResponse": code}:
        raise SystemExit(f"the webhook refused the handshake: HTTP {shaken.status}")
    answer = stack.client.announce("blue")
    screen.say(f"Event Grid delivered SecretNearExpiry of orders-db-blue: HTTP {answer.status}")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = [record["rotation"] for record in stack.client.rotations()]
        if found:
            screen.say(f"rotation {found[0]}: its page, how to watch it, and its mails")
            sys.stdout.write(f"{page(stack, found[0])}\n")
            sys.stdout.write(f"ROTCTL_CONFIG={write_profile(stack)} {ROTCTL} watch {found[0]}\n")
            sys.stdout.write(f"{stack.components['topic'].facts['viewer']}/inbox\n")
            sys.stdout.flush()
            return str(found[0])
        time.sleep(0.1)
    raise SystemExit("the event started no rotation; see the host's log with --keep")


def show_evidence(stack: Stack, screen: Screen, record: dict[str, Any]) -> None:
    screen.say("evidence: both slots are up, production is on the new one")
    found = stack.client.api("GET", f"/rotations/{record['rotation']}/evidence").json
    for name, tests in found["tests"].items():
        for test in tests:
            served = f", served by role {test['role']}" if test["role"] else ""
            verdict = "passed" if test["passed"] else f"failed: {test['problem']}"
            screen.say(f"     test {name} {test['test']} {verdict}{served}")
    for row in found["sessions"]:
        who = f"{row['application']} at {row['client']}"
        screen.say(f"     sessions of {row['role']} by {who}: {row['sessions']}")


def decide(stack: Stack, screen: Screen, record: dict[str, Any], given: argparse.Namespace) -> None:
    """Decides: by option, in the terminal, or by waiting for whoever decides on the page or over
    HTTP."""
    choice = "reject" if given.reject else "approve"
    asks = sys.stdin.isatty() and sys.stdout.isatty() and not (given.yes or given.reject)
    if asks:
        answer = ask(stack, screen, record)
        if answer is None:
            return
        choice = answer
    body = {"decision": choice, "by": PERSON, "comment": "decided in the demo"}
    decided = stack.client.api("POST", f"/rotations/{record['rotation']}/approval", body)
    screen.say(f"{choice} over HTTP as {PERSON}: HTTP {decided.status}")


def page(stack: Stack, rotation: str) -> str:
    """The address of a rotation's page, with the key of this run."""
    url = f"{stack.components['host'].url}/api/pages/rotations/{rotation}"
    return f"{url}?code={stack.keys['function']}"


def ask(stack: Stack, screen: Screen, record: dict[str, Any]) -> str | None:
    """The answer in the terminal; None if somebody decided elsewhere meanwhile."""
    screen.say("decide on its page, with rotctl, or here: [a]pprove or [r]eject, then Enter", "1")
    sys.stdout.write(f"{page(stack, record['rotation'])}\n")
    sys.stdout.flush()
    while (
        waits_or_ended(found := stack.client.rotation(record["rotation"])) and not found["decision"]
    ):
        readable, _, _ = select.select([sys.stdin], [], [], 0.5)
        answer = sys.stdin.readline().strip().lower() if readable else ""
        for choice in ("approve", "reject"):
            if answer and choice.startswith(answer):
                return choice
    return None


def write(
    path: Path,
    record: dict[str, Any],
    load: dict[str, Any],
    checks: list[proof.Check],
    seconds: float,
) -> None:
    facts = {
        "seconds": round(seconds, 3),
        "load": load,
        "rotation": record,
        "checks": [{"what": check.what, "holds": check.holds} for check in checks],
    }
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
