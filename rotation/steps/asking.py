"""Asks the tests of a workload: side by side, and within one time for all of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from rotation.decisions.answers import Expectation, fill, judge, judge_row
from rotation.model.errors import EdgeError, Unavailable
from rotation.model.reasons import Code
from rotation.model.record import TestResult
from rotation.model.world import Manner, Query
from rotation.steps.login import current_version, password_in

if TYPE_CHECKING:
    from pydantic import JsonValue

    from rotation.config import Credential, Workload, WorkloadTest
    from rotation.contracts.edges import Readers
    from rotation.model.activities import Through
    from rotation.model.reasons import Reason
    from rotation.model.world import Answer, Slot

# Seconds that all tests of a step have, from its beginning. One test alone may take 30 s unless the
# file says otherwise; an activity has 55 s, and what comes after the tests needs some of them.
TOGETHER = 40.0
ENOUGH = 10.0  # seconds that must be left for a request whose own timeout is longer
LONGEST_TITLE = 100  # characters of a query
GRACE = 2.0  # seconds in which an edge whose time is over says what it has waited for


@dataclass(frozen=True)
class Tried:
    """The result of a test, with the error in place of an answer, if there was none.

    `database`: it was asked of the database alone, which says nothing of pods.
    """

    result: TestResult
    error: EdgeError | None = None
    database: bool = False


@dataclass(frozen=True)
class Round:
    """One round of a workload's tests on a slot, which ends at `until`, a timestamp."""

    edges: Readers
    credential: Credential
    workload: Workload
    slot: Slot
    through: Through
    until: float

    @property
    def role(self) -> str:
        return self.credential.slots[self.slot].role

    @property
    def left(self) -> float:
        """Seconds until its end."""
        return self.until - self.edges.now().timestamp()


def until(edges: Readers) -> float:
    """The timestamp at which the tests of a step that begins now are over."""
    return edges.now().timestamp() + TOGETHER


def tried(asked: Round) -> list[Tried]:
    """The results of one round, in the order of the file. Jobs are in none: see `jobs`."""
    tests = [
        test
        for test in asked.workload.tests
        if test.job is None
        and (asked.through == "service" or _reaches_standby(asked.workload, test))
    ]
    calls = [partial(_run, asked, test) for test in tests]
    ended = asked.edges.side_by_side(calls, max(asked.left, 0.0) + GRACE)
    late = _overdue()
    return [
        answered or _tried(asked, test, 0, late.reason, late)
        for test, answered in zip(tests, ended, strict=True)
    ]


def _reaches_standby(workload: Workload, test: WorkloadTest) -> bool:
    """Whether a test can be made before the swap. In place nothing runs then with the other login:
    the database alone can be asked."""
    return test.sql is not None if workload.in_place else test.reaches_standby


def title(test: WorkloadTest) -> str:
    """A test as evidence names it: its path or URL, with the method where that is not GET, or the
    beginning of its query."""
    if test.sql is not None:
        words = " ".join(test.sql.split())
        return words if len(words) <= LONGEST_TITLE else f"{words[: LONGEST_TITLE - 3]}..."
    asked = test.path or test.url or ""
    return asked if test.method == "GET" else f"{test.method} {asked}"


def _run(asked: Round, test: WorkloadTest) -> Tried:
    """The result of one test, asked `repeat` times or until it fails, and why it got no answer."""
    attempts = 0
    while attempts < test.repeat:
        try:
            seconds = _seconds(asked, test)
            attempts += 1
            problem = _problem(asked, test, seconds)
        except EdgeError as error:
            return _tried(asked, test, attempts, error.reason, error)
        if problem is not None:
            return _tried(asked, test, attempts, problem)
    return _tried(asked, test, attempts)


def _seconds(asked: Round, test: WorkloadTest) -> float:
    """How long a test waits for its next answer.

    Raises `Unavailable` if too little time is left: what then got no answer would prove nothing.
    """
    left, own = asked.left, test.timeout.total_seconds()
    if left < min(own, ENOUGH):
        raise _overdue()
    return min(own, left)


def _overdue() -> Unavailable:
    """The error of a test for which no time was left."""
    text = f"not done within the {TOGETHER:g} s that all tests have together"
    return Unavailable(Code.TEST_OVERDUE, text)


def _tried(
    asked: Round,
    test: WorkloadTest,
    attempts: int,
    problem: Reason | None = None,
    error: EdgeError | None = None,
) -> Tried:
    """A test with its result, and why it did not pass, if it did not."""
    result = TestResult(
        test=title(test),
        passed=problem is None,
        problem=problem.text if problem else None,
        attempts=attempts,
        role=asked.role
        if problem is None and asked.role in _fields(asked, test).values()
        else None,
        code=problem.code if problem else None,
    )
    return Tried(result, error, database=test.sql is not None)


def _problem(asked: Round, test: WorkloadTest, seconds: float) -> Reason | None:
    """Why what one request or query is answered does not pass, if it does not.

    Raises `EdgeError`.
    """
    if test.sql is not None:
        return _queried(asked, test, seconds)
    answer = _ask(asked, test, seconds)
    return judge(Expectation(test.status, _fields(asked, test)), answer.status, answer.body)


def _queried(asked: Round, test: WorkloadTest, seconds: float) -> Reason | None:
    """Why what a query finds does not pass, if it does not: asked of the server, and of what
    applications connect to, where that is another. Raises `EdgeError`."""
    edges, credential = asked.edges, asked.credential
    version = current_version(edges, credential, asked.slot)
    password = password_in(edges, credential, version)
    expected = _filled(test.value, asked)
    wanted = None if expected is None else json.dumps(expected)
    endpoint = edges.endpoint(credential)
    for server in (edges.database(credential), *([] if endpoint is None else [endpoint])):
        query = Query(test.sql or "", seconds, wanted)
        problem = judge_row(expected, server.query(asked.role, password, query))
        if problem is not None:
            return problem
    return None


def _fields(asked: Round, test: WorkloadTest) -> dict[str, JsonValue]:
    """What a test's JSON answer must have, with `{role}` and `{slot}` filled in."""
    return {key: _filled(value, asked) for key, value in (test.expect or {}).items()}


def _ask(asked: Round, test: WorkloadTest, seconds: float) -> Answer:
    """The workload's answer to one request of a test."""
    manner, workload, role = _manner(asked, test), asked.workload, quote(asked.role, safe="")
    if test.url is not None:
        url = fill(test.url, role, asked.slot)
        return asked.edges.fetch(url, seconds, manner, test.certificate_authority)
    target = workload.asked(asked.slot, serves=asked.through != "preview")
    if test.port is not None:
        target = replace(target, port=str(test.port))
    path = fill(test.path or "/", role, asked.slot)
    return asked.edges.traffic(workload.cluster).ask(target, path, seconds, manner)


def _manner(asked: Round, test: WorkloadTest) -> Manner:
    """How a test asks, with `{role}` and `{slot}` filled in."""
    # Percent-encoded, since headers are ASCII and a role's name need not be.
    role = quote(asked.role, safe="")
    headers = {name: fill(value, role, asked.slot) for name, value in test.headers.items()}
    if test.body is None:
        return Manner(test.method, headers, scheme=test.scheme)
    filled = _filled(test.body, asked)
    text, kind = filled, "text/plain; charset=utf-8"
    if not isinstance(text, str):
        text, kind = json.dumps(filled, ensure_ascii=False), "application/json"
    if not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = kind
    return Manner(test.method, headers, text.encode(), test.scheme)


def _filled(value: JsonValue, asked: Round) -> JsonValue:
    """A JSON value with `{role}` and `{slot}` filled in in its texts."""
    if isinstance(value, str):
        return fill(value, asked.role, asked.slot)
    if isinstance(value, list):
        return [_filled(item, asked) for item in value]
    if isinstance(value, dict):
        return {key: _filled(item, asked) for key, item in value.items()}
    return value
