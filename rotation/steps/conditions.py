"""Asks the metrics that a credential's owner watches, by the file as it is now."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rotation.model import wire
from rotation.model.activities import Looked, Measured
from rotation.model.commands import Thing, told
from rotation.model.errors import ConfigurationError, EdgeError
from rotation.model.findings import found
from rotation.model.reasons import Code
from rotation.model.record import ConditionSeen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Condition, Credential
    from rotation.contracts.edges import Readers
    from rotation.model.findings import Finding
    from rotation.steps.running import Step

EACH, TOGETHER = 10.0, 20.0  # seconds for an answer


def conditions(step: Step) -> Looked:
    """Each condition with what its query is answered with now. Raises nothing of the sources:
    that one is not to be asked is an answer."""
    return Looked(looked(*step.watched))


def of_today(file: Readers, planned: Readers, name: str) -> tuple[Readers, Credential]:
    """The credential whose conditions count, with the edges to ask by: the file's as it is now, as
    with windows, or else the one that the rotation was planned with."""
    try:
        credential = file.configuration.credentials.get(name)
    except ConfigurationError:
        credential = None
    if credential is not None:
        return file, credential
    return planned, planned.configuration.credential(name)


def looked(edges: Readers, credential: Credential) -> list[Measured]:
    """Each of the credential's conditions, as its query is answered now."""
    if not credential.conditions:
        return []
    calls = [partial(_measured, edges, one) for one in credential.conditions]
    answers = edges.side_by_side(calls, TOGETHER)
    late = f"no answer within {TOGETHER:g} s"
    return [
        answer or _with(one, _seen(edges, one, known=False, problem=late))
        for one, answer in zip(credential.conditions, answers, strict=True)
    ]


def _measured(edges: Readers, condition: Condition) -> Measured:
    try:
        values = edges.measure(condition, EACH)
    except EdgeError as error:
        seen = _seen(edges, condition, known=False, problem=error.message)
        return _with(condition, seen)
    value = condition.limit.worst(values)
    if value is None:
        beyond = condition.no_data == "breach"
        return _with(condition, _seen(edges, condition, beyond=beyond, problem="no data"))
    beyond = condition.limit.beyond(value)
    return _with(condition, _seen(edges, condition, value=value, beyond=beyond))


def _with(condition: Condition, seen: ConditionSeen) -> Measured:
    breaches = condition.when_unknown == "breach"
    return Measured(seen=seen, lasts=condition.lasts.total_seconds(), unknown_breaches=breaches)


def _seen(
    edges: Readers,
    condition: Condition,
    *,
    value: float | None = None,
    known: bool = True,
    beyond: bool = False,
    problem: str | None = None,
) -> ConditionSeen:
    return ConditionSeen(
        name=condition.name,
        at=wire.moment(edges.now()),
        limit=str(condition.limit),
        value=value,
        known=known,
        beyond=beyond,
        problem=problem,
    )


def findings(edges: Readers, credential: Credential) -> Iterator[Finding]:
    """What a dry run tells: which queries are not answered now, and which values are beyond their
    limits already."""
    for one in looked(edges, credential):
        seen, thing = one.seen, Thing("condition", one.seen.name)
        if not seen.known:
            text = f"condition {seen.name} cannot be looked at: {seen.problem}"
            yield found("tells", told(Code.CONDITION_UNKNOWN, text, thing))
        elif seen.beyond:
            what = "its query finds no data" if seen.value is None else f"{seen.value:g} now"
            text = f"condition {seen.name}: {what}, and it breaches {seen.limit}"
            yield found("tells", told(Code.CONDITION_BEYOND, text, thing))
