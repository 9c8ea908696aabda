"""The rehearsal itself: make, load, move, end, count; and take everything away again."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rotctl.adopt.original import name_of
from rotctl.exits import ClientError, Exit
from rotctl.rehearse import manifests, verdict
from rotctl.rehearse.counts import Line, Span
from rotctl.rehearse.plan import LEAVING, STAYING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotctl.adopt.original import Object
    from rotctl.rehearse.plan import Plan
    from rotctl.rehearse.space import Space

EVERY = 0.5  # seconds between two looks
# What an own Job's end takes along, and what is left of one that has not begun.
MADE = ("Deployment", "Service", "Job")
ANSWERED = 60.0  # seconds within which ready pods answer the clients
AFTER = 30.0  # seconds past a pod's grace period within which it is gone
CLEARED = 60.0  # seconds within which pods are gone that are cleaned away, past their grace period
SHORT = 2.0  # seconds of a grace period that looking takes as well
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none
KILLED = 137  # a container's exit code after SIGKILL
NO_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName")
NEVER = ("CreateContainerConfigError", "CreateContainerError")
CRASHES = 3  # of a container, after which nobody waits for it
# Of events, those whose messages are the cluster's own words and not a container's.
TELLING = ("FailedCreate", "FailedScheduling", "FailedMount", "FailedAttachVolume")


class Rehearsal:
    """One run. `say` tells whoever waits what happens; `clock` and `sleep` are in seconds."""

    def __init__(
        self,
        space: Space,
        plan: Plan,
        say: Callable[[str], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.space, self.plan, self.say = space, plan, say
        self._clock, self._sleep = clock, sleep
        self._line = Line()
        self._codes: set[int] = set()  # of the containers that ended, where they were seen

    def run(self) -> verdict.Measured:
        """What came of it. Whatever happens, what it made is gone afterwards, or the error says by
        which command it goes. Raises `ClientError`."""
        self._end = self._clock() + self.plan.seconds
        if self._left():
            self.say("there are leftovers of a rehearsal: they go first")
            self._cleared("")
        measured, why = None, ""
        try:
            with _interruptible():
                measured = self._measured()
        except KeyboardInterrupt:
            why = "interrupted"
            text = "interrupted, and nothing was measured"
            raise ClientError(text, "what it had made is gone again", Exit.INTERRUPTED) from None
        except ClientError as error:
            why = error.text
            raise
        finally:
            with suppress(OSError):  # a terminal that is closed
                self.say("all of it goes again")
            self._cleared(why)
        return measured

    # -- from making to counting

    def _measured(self) -> verdict.Measured:
        self._make()
        self.say(f"clients keep {self.plan.load.connections} connections to one of them")
        self._until(self._connected, "the clients having connections")
        steady = self._line
        before = self._after(self.plan.load.steady)
        self.say("traffic moves to the other one")
        name = manifests.name(self.plan)
        moved = {"spec": {"selector": manifests.chosen(self.plan, STAYING)}}
        self.space.patch("Service", name, moved)
        after = self._after(self.plan.load.steady)
        move = Span.between(before, after)
        self.say("the first one ends")
        told = self._clock()
        self.space.patch("Deployment", f"{name}-{LEAVING}", {"spec": {"replicas": 0}})
        self._until(self._ended, "the end of the pod", self.plan.grace + AFTER)
        took = self._clock() - told
        last = self._last(after)
        return verdict.Measured(
            Span.between(steady, before),
            move,
            Span.between(after, last),
            move.held,
            took,
            self.plan.grace,
            self._killed(took),
            self._framework(last.server),
        )

    def _framework(self, server: str) -> str:
        return self.plan.framework or verdict.BY_SERVER.get(server, server) or self.plan.guess

    def _make(self) -> None:
        """First what is found to be wrong soonest. The Job owns all else."""
        self.say("a Job for the clients")
        name = manifests.name(self.plan)
        self.space.create(manifests.service(self.plan))
        job = self.space.create(manifests.job(self.plan))
        owned = {"metadata": {"ownerReferences": [manifests.reference(job)]}}
        self.space.patch("Service", name, owned)
        self._until(self._begun, "the Job's clients having begun")
        self.say(f"two pods like those of {self.plan.deployment}")
        for part in (LEAVING, STAYING):
            self.space.create(manifests.deployment(self.plan, part, job))
        self._until(self._ready, "both pods being ready")
        self._until(
            lambda: self._read() is not None and not self._line.waits,
            self._unanswered(),
            ANSWERED,
        )

    def _begun(self) -> bool:
        """Whether the clients run. Raises `ClientError` where no pod may be made for them."""
        if self._read() is not None:
            return True
        failed = [text for text in self._warnings() if text.startswith("FailedCreate")]
        if failed:
            text = f"no pod may be made for the clients: {failed[0]}"
            raise ClientError(text, "what it says is in the way", Exit.REFUSED)
        return False

    def _unanswered(self) -> str:
        load = self.plan.load
        return f"an answer to GET {load.path} by {'HTTPS' if load.https else 'HTTP'}"

    def _connected(self) -> bool:
        """Each client has had an answer, and has asked since."""
        self._read()
        self._refuse_errors()
        wanted = self.plan.load.connections
        return self._line.clients >= wanted and self._line.requests > 2 * wanted

    def _refuse_errors(self) -> None:
        if self._line.statuses.get("5xx"):
            path = self.plan.load.path
            text = f"GET {path} is answered with 500 or more before anything has ended"
            raise ClientError(text, "give --path one that clients ask for", Exit.USAGE)

    def _ready(self) -> bool:
        """Both of them, with a pod each."""
        found = self.space.items("Deployment", manifests.selector(self.plan))
        for one in found:
            for condition in (one.get("status") or {}).get("conditions") or []:
                if (condition["type"], condition["status"]) == ("ReplicaFailure", "True"):
                    text = f"no pod may be made: {condition.get('message', '')}"
                    raise ClientError(text, "make room, or another limit", Exit.REFUSED)
        self._look_at_pods()
        return len(found) == 2 and all(
            (one.get("status") or {}).get("readyReplicas") for one in found
        )

    def _ended(self) -> bool:
        pods = self._pods(LEAVING)
        for pod in pods:
            for status in (pod.get("status") or {}).get("containerStatuses") or []:
                ended = (status.get("state") or {}).get("terminated")
                self._codes |= {ended["exitCode"]} if ended else set()
        return not pods

    def _killed(self, took: float) -> bool:
        """By its exit code; where it was gone before that was seen, by its time."""
        if self._codes:
            return KILLED in self._codes
        return took >= self.plan.grace > SHORT

    # -- what the clients say

    def _read(self) -> Line | None:
        """The newest line of the clients, which is kept; None before there is one."""
        pods = self.space.items("Pod", f"{manifests.selector(self.plan)},!{manifests.PART}")
        for pod in pods:
            _refuse_image(
                pod, f"give --image one that has Python, in the place of {self.plan.image}"
            )
            phase = (pod.get("status") or {}).get("phase")
            if phase in {"Failed", "Succeeded"}:
                text = f"the clients have ended: pod {name_of(pod)} is {phase}"
                cure = "look whether the image has python3, and whether a policy ended it"
                raise ClientError(text, cure, Exit.PROBLEM)
            line = Line.of(self.space.last_line(name_of(pod))) if phase == "Running" else None
            if line is not None:
                self._line = line
                return line
        return None

    def _after(self, seconds: float) -> Line:
        """The first line of so many seconds later."""
        since = self._line.at
        self._until(
            lambda: bool(self._read()) and self._line.at >= since + seconds,
            "what the clients say",
        )
        return self._line

    def _last(self, before: Line) -> Line:
        """The line after which nothing more comes of it: whoever hangs on a connection of before
        has waited for long enough."""
        self._until(lambda: self._read() is not None, "what the clients say")
        load, since = self.plan.load, self._line.at
        line = self._after(load.steady)
        if Span.between(before, line).held and load.patience >= load.steady:
            line = self._after(since + load.patience + 1 - line.at)
        return line

    # -- waiting

    def _until(self, holds: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        """Asks again and again; an API server that is away for a moment is asked again as well.

        Raises `ClientError` when the time is over.
        """
        end = min(self._end, self._clock() + seconds) if seconds else self._end
        away: ClientError | None = None
        while True:
            try:
                if holds():
                    return
                away = None
            except ClientError as error:
                if error.exit_code != Exit.UNREACHABLE:
                    raise
                away = error
            if self._clock() >= end:
                raise away or self._late(what)
            self._sleep(EVERY)

    def _late(self, what: str) -> ClientError:
        warned = "; ".join(self._warnings())
        waits = self._line.waits if what == self._unanswered() else ""
        said = f" ({warned or waits})" if warned or waits else ""
        text = f"waited in vain for {what}{said}"
        cure = (
            "`kubectl describe pod` and `kubectl logs` of a pod that serves; or a longer --timeout"
        )
        return ClientError(text, cure, Exit.TIMEOUT)

    def _warnings(self) -> list[str]:
        """What the cluster says of the objects: the last of each kind."""
        name = manifests.name(self.plan)
        try:
            events = self.space.items("Event", needed=False)
        except ClientError:
            return []
        found = {
            one["reason"]: f"{one['reason']}: {one.get('message', '')[:200]}"
            for one in events
            if one.get("reason") in TELLING
            and str((one.get("involvedObject") or {}).get("name", "")).startswith(name)
        }
        return list(found.values())

    def _pods(self, part: str) -> list[Object]:
        selector = f"{manifests.selector(self.plan)},{manifests.PART}={part}"
        return self.space.items("Pod", selector.replace(f"{manifests.MANAGED}={manifests.BY},", ""))

    def _look_at_pods(self) -> None:
        for pod in self._pods(LEAVING):
            _refuse_image(pod, "the pods that serve have it on their nodes: look at the registry")
            for reason, status in _waiting(pod):
                crashes = reason == "CrashLoopBackOff" and status.get("restartCount", 0) >= CRASHES
                if crashes or reason in NEVER:
                    text = f"container {status.get('name')} of a copy does not start ({reason})"
                    cure = f"would a new pod of {self.plan.deployment}? It is the same"
                    raise ClientError(text, cure, Exit.PROBLEM)

    # -- and back

    def _left(self) -> list[Object]:
        return [
            one for kind in MADE for one in self.space.items(kind, manifests.selector(self.plan))
        ]

    def _cleared(self, why: str) -> None:
        """Everything that carries its labels is gone. Raises `ClientError` with the command that
        takes it away, if it cannot be done here; `why` is what went wrong before."""
        first = f"{why}; and " if why else ""
        try:
            # An API server that is away for a moment must not leave things behind.
            self._end = self._clock() + self.plan.grace + CLEARED
            self._until(self._deleted, "its objects' end")
            self._until(self._gone, "its pods' end")
        except ClientError as error:
            text = f"{first}what the rehearsal made is still there: {error.text}"
            raise ClientError(text, f"run: {self.command()}", Exit.PROBLEM) from error
        except KeyboardInterrupt:
            text = f"{first}interrupted before what the rehearsal made had ended"
            cure = f"see whether something is left: {self.command()}"
            raise ClientError(text, cure, Exit.INTERRUPTED) from None

    def _deleted(self) -> bool:
        with _deaf():
            for one in self._left():
                self.space.delete(str(one["kind"]), name_of(one))
        return True

    def _gone(self) -> bool:
        of = f"{manifests.OF}={manifests.stem(self.plan)}"
        return not self._left() and not self.space.items("Pod", of)

    def command(self) -> str:
        kinds = ",".join(kind.lower() for kind in MADE)
        return f"kubectl -n {self.plan.namespace} delete {kinds} -l {manifests.selector(self.plan)}"


def _refuse_image(pod: Object, cure: str) -> None:
    for reason, status in _waiting(pod):
        if reason in NO_IMAGE:
            text = f"image {status.get('image')} cannot be pulled ({reason})"
            raise ClientError(text, cure, Exit.PROBLEM)


def _waiting(pod: Object) -> Iterator[tuple[str, Object]]:
    """Why containers wait, those that run before the others too."""
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for one in status.get(kind) or []:
            waiting = (one.get("state") or {}).get("waiting") or {}
            yield str(waiting.get("reason", "")), one


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM, or a terminal that closes, ends it like Ctrl-C."""

    def told(*_: object) -> None:
        raise KeyboardInterrupt

    with _handled(signal.SIGTERM, told), _handled(HANGUP, told):
        yield


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait: taking away is short, and must not stop half way."""
    ignored = signal.SIG_IGN
    with (
        _handled(signal.SIGTERM, ignored),
        _handled(HANGUP, ignored),
        _handled(signal.SIGINT, ignored),
    ):
        yield


@contextmanager
def _handled(number: signal.Signals, handler: object) -> Iterator[None]:
    try:
        before = signal.signal(number, handler)  # type: ignore[arg-type]  # as `signal` has it
    except ValueError:  # only the main thread may
        yield
        return
    try:
        yield
    finally:
        signal.signal(number, before)
