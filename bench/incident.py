"""What an incident takes that cuts first: until the leaked password is refused, and until all
workloads serve again.

On a stack of its own, whose people sign in: no function key may cut.
"""

from __future__ import annotations

import base64
import json
import tempfile
import time
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import urllib3

from bench import rotating
from bench.product import SLOTS, SecretTarget, other
from bench.screen import say
from local import world
from local.proof import can_login
from local.stack import Options, Stack

if TYPE_CHECKING:
    from bench.product import Secret, Slot

CALLER, SECOND = (f"{n}0000000-0000-4000-8000-00000000ca11" for n in (1, 2))
# Seconds from the call that are meant at most: until it is refused, and until all serves again, the
# time apart that pods take.
REFUSED, SERVING = 5.0, 10.0
LOOKS = 0.05  # seconds between two attempts to log in with what has leaked, or to be served
LONGEST = 180.0
SIGN_IN = {"ROTATION_SIGN_IN": "entra", "LOCAL_EASY_AUTH": "on"}
CREDENTIAL = {"incident": "allowed", "approval": {"approvers": [CALLER, SECOND]}}


class TooSlowError(RuntimeError):
    """A leaked password was accepted, or nothing was served, for longer than is meant."""


def measure(*, rounds: int, replicas: int) -> dict[str, Any]:
    """The seconds of `rounds` incidents on the demo's two workloads, from the call on, after a
    first one, in which the host imports the SDKs. Raises `TooSlowError`."""
    options = Options(replicas=replicas, credential=CREDENTIAL, environment=SIGN_IN)
    with tempfile.TemporaryDirectory(prefix="rotation-") as directory:
        say(f"{rounds + 1} incidents that cut first, on a stack of their own")
        with Stack(Path(directory), options) as stack:
            first, *others = [_once(stack) for _ in range(rounds + 1)]
    found = {key: median(one[key] for one in others) for key in first}
    _judge(found, rounds)
    return {"replicas": replicas, "rounds": rounds, "first": first, "median": found}


def _judge(one: dict[str, float], rounds: int) -> None:
    """Of when it serves again a single incident proves nothing: a busy machine stretches each of
    its steps."""
    if one["refused"] > REFUSED:
        raise TooSlowError(f"the leaked password was accepted for {one['refused']:.1f} s")
    without = one["serving"] - one["pods"]
    if without > SERVING and rounds > 1:
        raise TooSlowError(f"nothing was served for {without:.1f} s, apart from the pods' time")


def _once(stack: Stack) -> dict[str, float]:
    slot = _serving(stack)
    leaked = _password(stack, slot)
    watch = Watch(stack)
    body = {"credential": world.CREDENTIAL, "compromised": True, "cut": "first"}
    body |= {"confirmCredential": world.CREDENTIAL, "reason": "measured"}
    called = time.monotonic()
    answer = _post(stack, "/rotations", body, CALLER)
    while can_login(stack, slot, leaked):
        if time.monotonic() - called > LONGEST:
            raise TooSlowError("the leaked password is accepted")
        time.sleep(LOOKS)
    refused = time.monotonic() - called
    rotation = answer["rotation"]
    record = stack.client.follow(rotation, rotating.waits_or_ended, timeout=LONGEST)
    if record["outcome"] is not None:
        raise rotating.RotationFailed(f"{rotation}: {record['outcomeReason']}")
    serving = watch.stop() - called
    _post(stack, f"/rotations/{rotation}/approval", {"decision": "approve"}, SECOND)
    record = stack.client.follow(rotation, lambda found: found["outcome"], timeout=60)
    if record["outcome"] != "completed" or _serving(stack) != other(slot):
        raise rotating.RotationFailed(f"{rotation}: {record['outcomeReason']}")
    steps = rotating.steps(record)
    return {"refused": refused, "serving": serving, "pods": steps["prepare"], **_own(steps)}


def _own(steps: dict[str, float]) -> dict[str, float]:
    return {name: steps[name] for name in ("locate", "cut")}


class Watch:
    """Asks each workload all the time, over a connection of its own, and notes when the last answer
    came that was not the one that is wanted."""

    def __init__(self, stack: Stack) -> None:
        owner = stack.owner
        self._urls = [owner.service_url(space, name) for name, space in world.WORKLOADS.items()]
        self._ended = Event()
        self._last = [time.monotonic() for _ in self._urls]
        self._threads = [
            Thread(target=self._ask, args=(n,), daemon=True) for n in range(len(self._urls))
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, number: int) -> None:
        http = urllib3.PoolManager(retries=False)
        while not self._ended.is_set():
            try:
                answer = http.request(
                    "GET",
                    f"{self._urls[number]}/orders",
                    headers={"Connection": "close"},
                    timeout=urllib3.Timeout(connect=1, read=2),
                )
                good = answer.status == 200
            except urllib3.exceptions.HTTPError:
                good = False
            if not good:
                self._last[number] = time.monotonic()
            self._ended.wait(LOOKS)

    def stop(self) -> float:
        """When the last workload began to serve for good."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        return max(self._last)


def _serving(stack: Stack) -> Slot:
    (found,) = set(stack.owner.active_slots().values())
    return next(slot for slot in SLOTS if slot == found)


def _password(stack: Stack, slot: Slot) -> Secret:
    current = stack.owner.vault.current(SecretTarget(world.secret(slot)))
    assert current is not None  # noqa: S101 - it serves
    return stack.owner.vault.value(SecretTarget(current.secret, current.version))


def _post(stack: Stack, path: str, body: dict[str, Any], who: str) -> Any:
    """What the app answers somebody who has signed in. Raises `RotationFailed`."""
    claims = [{"typ": "oid", "val": who}, {"typ": "sub", "val": f"of {who}"}]
    principal = {"auth_typ": "aad", "claims": claims, "name_typ": "name", "role_typ": "roles"}
    signed_in = base64.b64encode(json.dumps(principal).encode()).decode()
    headers = {"x-functions-key": stack.keys["function"], "X-Local-Sign-In": signed_in}
    answer = stack.client.request("POST", f"/api{path}", body, headers)
    if answer.status not in {200, 202}:
        raise rotating.RotationFailed(f"{answer.status}: {answer.json}")
    return answer.json
