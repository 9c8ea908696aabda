"""The workflow that asks by mail: what it sends, and that the API takes its answer."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from rotation.edges.azure import AzureEdges
from rotation.front import api
from rotation.front.problems import Problem
from rotation.links import links
from rotation.model import wire
from rotation.model.activities import Notice, Terms
from rotation.model.catalogue import Announcement, Origin, Outcome, Stage
from rotation.model.reasons import Code, reason
from rotation.model.record import (
    EvidenceSummary,
    Request,
    SessionCount,
    ShownRecord,
    new_record,
)
from rotation.model.wire import Moment
from rotation.telling.messages import announcement
from tests.infra.bicep import Bicep
from tests.infra.workflow import Result, Workflow

if TYPE_CHECKING:
    import azure.durable_functions as df

ROOT = Path(__file__).parents[2]
DEFINITION = json.loads((ROOT / "infra/logic/approval.json").read_text(encoding="utf-8"))
APP = "https://func-rotation.example"
PARAMETERS: dict[str, Any] = {
    "$connections": {"office365": {"connectionId": "/connections/office365"}},
    "appUrl": APP,
    "audience": "",
    "decisionKey": "k-1",
    "fallbackRecipients": ["oncall@example.com"],
    "identity": "/identities/mail",
}
ANSWER = {"SelectedOption": "Approve", "UserEmailAddress": "ada@example.com", "UserId": "1234"}


NOW = Moment("2026-11-24T06:00:00.000Z")
TERMS = Terms(
    serves="green",
    replaced="blue",
    deadline=Moment("2026-12-01T06:00:00.000Z"),
    on_deadline="keep",
)
EVIDENCE = EvidenceSummary(at=NOW, complete=True, passed=True, problems=[], still_in_use=[])
STRANGERS = SessionCount(
    role="orders_blue", application="psql", client="10.0.0.9", sessions=1, workload=None
)
FACTS: dict[str, dict[str, Any]] = {
    "AwaitingApproval": {"evidence": EVIDENCE, "terms": TERMS},
    "Reminder": {"overdue": False, "terms": TERMS},
    "StillInUse": {"sessions": [STRANGERS], "terms": TERMS},
    "LoginFails": {"reasons": [reason(Code.LOGIN_REFUSED, "password authentication failed")]},
    "Completed": {
        "outcome": Outcome.COMPLETED,
        "outcome_reason": "approved by ada@example.com",
    },
    "NeedsAttention": {
        "outcome": Outcome.NEEDS_ATTENTION,
        "outcome_reason": "rolling back failed",
    },
}
APPROVERS = ["ada@example.com", "00000000-0000-0000-0000-000000000000", "app-role"]
REQUEST = Request(
    rotation="orders-db-near-expiry-0123456789ab",
    credential="orders-db",
    origin=Origin.NEAR_EXPIRY,
    requested_by="Key Vault",
    reason="r",
)


def event(
    kind: str = "AwaitingApproval", approvers: list[str] = APPROVERS, **data: Any
) -> dict[str, Any]:
    """What the app publishes; `data` replaces parts of it."""
    notice = Notice(kind=Announcement(kind), number=4, time=NOW, request=REQUEST, **FACTS[kind])
    made = announcement(notice, approvers, APP)
    return {**made, "data": {**made["data"], **data}}


def run(
    given: dict[str, Any],
    answers: dict[str, Result] | None = None,
    **parameters: Any,
) -> Workflow:
    outcomes: dict[str, Result] = {
        "Ask": ("Succeeded", ANSWER),
        **(answers or {}),
    }
    workflow = Workflow(
        DEFINITION,
        PARAMETERS | parameters,
        lambda action, _: outcomes.get(action, ("Succeeded", {})),
    )
    workflow.run(given)
    return workflow


def sent(workflow: Workflow, action: str) -> dict[str, Any]:
    (found,) = [inputs for name, inputs in workflow.sent if name == action]
    return found


def taken(document: dict[str, Any]) -> int:
    """The API's answer about a rotation that has ended: 409 to a decision that is well formed."""
    ended = new_record(REQUEST, Stage.DONE, NOW)
    ended.outcome = Outcome.COMPLETED
    shown = {"runtimeStatus": "Completed", "created": NOW, "updated": NOW}
    record = wire.read(ShownRecord, wire.value_of(ended) | shown)
    client = cast("df.DurableOrchestrationClient", None)  # an ended rotation is not asked anything
    with pytest.raises(Problem) as caught:
        asyncio.run(api.decision(AzureEdges({}), client, record, document))
    return caught.value.status


def test_the_mail_names_the_credential_and_goes_to_the_approvers_with_an_address() -> None:
    message = sent(run(event()), "Ask")["body"]["Message"]
    assert message["To"] == "ada@example.com"
    assert "orders-db" in message["Subject"]
    assert message["Options"] == "Approve, Reject"
    assert f"{APP}/api/pages/rotations/" in message["Body"]


def test_a_program_that_follows_links_cannot_answer() -> None:
    assert sent(run(event()), "Ask")["body"]["Message"]["ShowHTMLConfirmationDialog"] is True


@pytest.mark.parametrize("approvers", [[], ["00000000-0000-0000-0000-000000000000"]])
def test_without_an_address_those_who_run_the_app_are_asked(approvers: list[str]) -> None:
    assert (
        sent(run(event(approvers=approvers)), "Ask")["body"]["Message"]["To"]
        == "oncall@example.com"
    )


@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            {"complete": True, "passed": True, "stillInUse": []},
            ["Tests: passed", "Evidence: complete"],
        ),
        ({"complete": False, "passed": True, "stillInUse": []}, ["Evidence: INCOMPLETE"]),
        (
            {"complete": True, "passed": False, "stillInUse": [{}, {}]},
            ["Tests: NOT passed", "login: 2"],
        ),
        (None, ["Tests: NOT passed", "Evidence: INCOMPLETE"]),
    ],
)
def test_the_mail_says_what_the_evidence_says(
    evidence: dict[str, Any] | None, words: list[str]
) -> None:
    body = sent(run(event(evidence=evidence)), "Ask")["body"]["Message"]["Body"]
    assert [word for word in words if word not in body] == []


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("before", ["Asked: before the swap, traffic has not moved<", "login that serves: 0"]),
        ("after", ["Asked: after the swap<", "old login: 0"]),
    ],
)
def test_the_mail_says_which_decision_the_evidence_is_for(gate: str, words: list[str]) -> None:
    body = sent(run(event(gate=gate)), "Ask")["body"]["Message"]["Body"]
    assert [word for word in words if word not in body] == []


def test_nothing_that_a_stranger_can_write_gets_into_the_mail() -> None:
    """Sessions name themselves, and an application's name is its client's choice."""
    hostile = '<script>"&'
    given = event("StillInUse", links={"page": f"{APP}/{hostile}"}, text=f"in use by {hostile}")
    body = sent(run(given), "Inform")["body"]["Body"]
    assert "<script>" not in body
    assert 'in use by &lt;script&gt;"&amp;' in body
    assert f'href="{APP}/%3Cscript>%22&amp;"' in body


def test_a_signed_link_goes_to_its_approver_and_to_nobody_else() -> None:
    recipients = [
        {"approver": name, "link": f"{APP}/api/pages/decision?link={name}", "expires": "x"}
        for name in ("ada@example.com", "bob@example.com")
    ]
    workflow = run(event(recipients=recipients))
    messages_ = [inputs["body"]["Message"] for name, inputs in workflow.sent if name == "Ask"]
    assert {message["To"] for message in messages_} == {"ada@example.com", "bob@example.com"}
    for message in messages_:
        links = re.findall(r'href="([^"]+)"', message["Body"])
        assert links == [f"{APP}/api/pages/decision?link={message['To']}"]


def test_each_answer_counts_for_whoever_gave_it() -> None:
    workflow = run(event(approvers=["ada@example.com", "bob@example.com"]))
    assert [name for name, _ in workflow.sent].count("Decide") == 2


@pytest.mark.parametrize(
    ("option", "decision"), [("Approve", "approve"), ("Reject", "reject"), ("reject", "reject")]
)
def test_the_answer_is_posted_to_the_rotation_and_the_api_takes_it(
    option: str, decision: str
) -> None:
    workflow = run(event(), {"Ask": ("Succeeded", {**ANSWER, "SelectedOption": option})})
    request = sent(workflow, "Decide")
    assert request["method"] == "POST"
    assert request["uri"] == links(event()["data"]["rotation"], APP)["approval"]
    assert request["body"] == {
        "decision": decision,
        "comment": "Answered in the approval mail.",
        "by": "ada@example.com",
        "channel": "logic-app",
        "gate": "after",
    }
    assert taken(request["body"]) == 409


def test_an_answer_counts_for_the_decision_alone_that_it_was_asked_for() -> None:
    asked = run(event(gate="before"))
    message = next(inputs["body"]["Message"] for name, inputs in asked.sent if name == "Ask")
    assert (
        message["HeaderText"] == "The new login of orders-db is ready, and traffic has not moved."
    )
    assert message["SelectionText"].startswith("Approve moves traffic. Reject ends the rotation")
    assert sent(asked, "Decide")["body"]["gate"] == "before"


def test_of_an_event_of_an_earlier_release_nobody_says_which_decision_it_is() -> None:
    workflow = run(event(gate=None))
    message = next(inputs["body"]["Message"] for name, inputs in workflow.sent if name == "Ask")
    assert message["SelectionText"] == "Approve takes the old login away. Reject goes back to it."
    assert "gate" not in sent(workflow, "Decide")["body"]


@pytest.mark.parametrize(
    "wrong",
    [{"decision": "Approve"}, {"by": None}, {"by": ""}, {"more": 1}, {"comment": 5}],
)
def test_the_api_refuses_another_shape(wrong: dict[str, Any]) -> None:
    body = sent(run(event()), "Decide")["body"]
    assert taken({**body, **wrong}) == 400


def test_a_member_of_a_group_is_known_by_id() -> None:
    answer = {"SelectedOption": "Approve", "UserId": "1234"}
    assert sent(run(event(), {"Ask": ("Succeeded", answer)}), "Decide")["body"]["by"] == "1234"


def test_the_key_is_a_secure_parameter_and_kept_out_of_the_history() -> None:
    """Shown neither in the workflow, nor in the inputs of the actions that send it."""
    assert DEFINITION["parameters"]["decisionKey"] == {"type": "SecureString"}
    sending = {
        name: action
        for name, action in every_action(DEFINITION["actions"])
        if "parameters('decisionKey')" in json.dumps(action.get("inputs", ""))
    }
    assert sending.keys() == {"Decide", "Decide_signed_in"}
    for action in sending.values():
        assert action["runtimeConfiguration"]["secureData"]["properties"] == ["inputs"]
    assert sent(run(event()), "Decide")["headers"]["x-functions-key"] == "k-1"


def test_with_sign_in_the_workflow_shows_its_identity_too() -> None:
    workflow = run(event(), audience="api://app")
    request = sent(workflow, "Decide_signed_in")
    assert request["authentication"] == {
        "type": "ManagedServiceIdentity",
        "identity": "/identities/mail",
        "audience": "api://app",
    }
    assert request["headers"]["x-functions-key"] == "k-1"
    assert "Decide" not in dict(workflow.sent)


def test_both_ways_of_posting_differ_in_nothing_else() -> None:
    actions = dict(every_action(DEFINITION["actions"]))
    plain, signed = actions["Decide"]["inputs"], dict(actions["Decide_signed_in"]["inputs"])
    del signed["authentication"]
    assert signed == plain


def test_whoever_answered_hears_that_it_did_not_count() -> None:
    workflow = run(event(), {"Decide": ("Failed", {"detail": "somebody else's decision counted"})})
    told = sent(workflow, "Tell_not_counted")["body"]
    assert told["Subject"].startswith("Not counted")
    assert told["To"] == "ada@example.com"


def test_nobody_is_told_so_when_it_counted() -> None:
    assert "Tell_not_counted" not in dict(run(event()).sent)


def test_a_mail_that_nobody_answers_decides_nothing() -> None:
    workflow = run(event(), {"Ask": ("TimedOut", None)})
    assert [name for name, _ in workflow.sent] == ["Ask"]


@pytest.mark.parametrize("kind", ["Reminder", "StillInUse", "Completed", "NeedsAttention"])
def test_other_events_inform(kind: str) -> None:
    given = event(kind)
    workflow = run(given)
    assert [name for name, _ in workflow.sent] == ["Inform"]
    assert sent(workflow, "Inform")["body"]["Subject"] == given["data"]["title"]


def test_foreign_events_send_nothing() -> None:
    given = {**event(), "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"}
    assert run(given).sent == []


def test_bicep_passes_just_the_parameters_that_the_definition_declares() -> None:
    text = Bicep(ROOT / "infra/modules/mail.bicep").resources[1].text
    passed = re.search(r"parameters: \{(.*)\n    \}", text, re.DOTALL)
    assert passed is not None
    names = re.findall(r"^      '?([\w$]+)'?: \{", passed[1], re.MULTILINE)
    assert sorted(names) == sorted(DEFINITION["parameters"])


def every_action(actions: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, action in actions.items():
        found.append((name, action))
        found += every_action(action.get("actions", {}))
        found += every_action(action.get("else", {}).get("actions", {}))
    return found
