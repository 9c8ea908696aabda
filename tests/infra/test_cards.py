"""The workflows that post cards to Teams and Slack: what they post, of every event that a rotation
can make, and that nobody's text becomes more than text.

The limits are those of
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using
(28 KB),
https://docs.slack.dev/reference/block-kit/blocks (50 blocks, 150 characters of a header),
https://docs.slack.dev/reference/block-kit/composition-objects/text-object (3000 characters).
"""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rotation.model.catalogue import PREFIX, Announcement, announcement_facts
from tests.infra.bicep import Bicep
from tests.infra.predicted import one, resources
from tests.infra.test_mail_workflow import every_action
from tests.infra.workflow import Result, Workflow
from tests.unit.test_messages import APP, STORIES, events
from tests.unit.virtual import Story, pytestmark

if TYPE_CHECKING:
    from collections.abc import Callable

LOGIC = Path(__file__).parents[2] / "infra/logic"
KINDS = ("teams", "slack")
DEFINITIONS = {
    kind: json.loads((LOGIC / f"{kind}.json").read_text(encoding="utf-8")) for kind in KINDS
}
WEBHOOK = "https://hooks.example/services/T0/B0/secret-of-the-channel"
CARDED = [PREFIX + kind for kind in Announcement if announcement_facts(kind).mailed]
# What somebody may write into a comment, a reason, or an application's name.
HOSTILE = (
    "<!channel> <!here> <@U0123> <#C0123> <!subteam^S0123> @channel @everyone <at>all</at> "
    "<https://evil.example|Approve> [Approve](https://evil.example) https://evil.example "
    '![x](https://evil.example/x.png) {{DATE(2026-11-24T06:00:00Z)}} ${title} "quoted" \\ & &lt; \n'
)

__all__ = ["pytestmark"]
each_kind = pytest.mark.parametrize("kind", KINDS)


def run(kind: str, event: dict[str, Any], outcome: Result = ("Succeeded", {})) -> Workflow:
    parameters = {"appUrl": APP, "webhook": WEBHOOK}
    workflow = Workflow(DEFINITIONS[kind], parameters, lambda *_: outcome)
    workflow.run(event)
    return workflow


def posted(kind: str, event: dict[str, Any]) -> Any:
    """The body of the one request, to the channel's address."""
    ((name, inputs),) = run(kind, event).sent
    assert (name, inputs["method"], inputs["uri"]) == ("Post", "POST", WEBHOOK)
    return inputs["body"]


def told() -> list[dict[str, Any]]:
    return [event for tell in STORIES for event in events(tell)]


def asking() -> dict[str, Any]:
    found = (event for event in told() if event["eventType"] == f"{PREFIX}AwaitingApproval")
    return copy.deepcopy(next(found))


def card(body: Any) -> Any:
    assert body["type"] == "message"
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    return attachment["content"]


def texts(kind: str, body: Any) -> list[str]:
    """What is shown, from top to bottom, as its reader sees it."""
    if kind == "teams":
        title, container = card(body)["body"]
        return [run["text"] for block in (title, *container["items"]) for run in block["inlines"]]
    shown = [block["text"]["text"] for block in body["blocks"][:-1]]
    return [shown[0], *(unescaped(text) for text in shown[1:])]


def unescaped(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def button(kind: str, body: Any) -> Any:
    if kind == "teams":
        (action,) = card(body)["actions"]
        assert action["type"] == "Action.OpenUrl"
        return action["url"]
    (element,) = body["blocks"][-1]["elements"]
    assert (body["blocks"][-1]["type"], element["type"]) == ("actions", "button")
    return element["url"]


def check_limits(kind: str, body: Any) -> None:
    if kind == "teams":
        assert len(json.dumps(body)) <= 28 * 1024  # in ASCII, which is the longest way to write it
        return
    assert len(body["blocks"]) <= 50
    header, *sections, _ = body["blocks"]
    assert header["type"] == "header"
    assert 1 <= len(header["text"]["text"]) <= 150
    for section in sections:
        assert section["type"] == "section"
        assert 1 <= len(section["text"]["text"]) <= 3000


@each_kind
@pytest.mark.parametrize("tell", STORIES, ids=lambda tell: tell.__name__)
def test_every_event_becomes_a_card_whose_button_opens_the_page(
    kind: str, tell: Callable[[Story], None]
) -> None:
    for event in events(tell):
        body = posted(kind, event)
        check_limits(kind, body)
        shown = texts(kind, body)
        assert shown[0] == event["data"]["title"]
        assert event["data"]["text"] in shown or not event["data"]["text"]
        assert event["data"]["rotation"] in shown[-1]
        assert button(kind, body) == f"{APP}/api/pages/rotations/{event['data']['rotation']}"


def test_every_type_that_is_posted_was_among_them() -> None:
    assert {event["eventType"] for event in told()} >= set(CARDED)
    for wanted in ("AwaitingApproval", "Completed", "RolledBack", "Aborted", "NeedsAttention"):
        assert PREFIX + wanted in CARDED
    assert f"{PREFIX}Reminder" in CARDED


@each_kind
def test_no_signed_link_and_no_other_way_to_decide_gets_into_a_channel(kind: str) -> None:
    """A channel has many readers, and programs that fetch what they see."""
    with_links = [event for event in told() if event["data"].get("recipients")]
    assert {event["eventType"].removeprefix(PREFIX) for event in with_links} == {
        "AwaitingApproval", "AwaitingConfirmation", "Reminder",
    }  # fmt: skip
    for event in with_links:
        said = json.dumps(posted(kind, event))
        assert "link=" not in said
        assert "/approval" not in said
        assert not [one for one in event["data"]["recipients"] if one["link"] in said]
        assert set(re.findall(r"https?://[^\"]+", said)) - {
            "http://adaptivecards.io/schemas/adaptive-card.json"
        } == {event["data"]["links"]["page"]}


@each_kind
@pytest.mark.parametrize("page", ["/api/pages/rotations/r", None, "http://elsewhere.example/"])
def test_without_an_address_of_its_own_the_app_is_found_by_the_deployments(
    kind: str, page: str | None
) -> None:
    event = asking()
    event["data"]["links"]["page"] = page
    expected = f"{APP}/api/pages/rotations/{event['data']['rotation']}"
    assert button(kind, posted(kind, event)) == expected


@each_kind
@pytest.mark.parametrize(
    ("evidence", "words"),
    [
        (
            {"workloads": {"green": 3, "red": 0}, "passed": True, "complete": True},
            ["3 green, 0 red", "Tests: passed", "Evidence: complete", "takes away: 0"],
        ),
        (
            {"workloads": {"green": 2, "red": 1}, "complete": False, "stillInUse": [{}, {}]},
            ["2 green, 1 red", "Tests: NOT passed", "Evidence: INCOMPLETE", "takes away: 2"],
        ),
        ({"workloads": None, "passed": True}, ["Workloads: not known"]),
        ({"passed": True}, ["Workloads: not known"]),
    ],
)
def test_the_card_says_what_the_evidence_says(
    kind: str, evidence: dict[str, Any], words: list[str]
) -> None:
    event = asking()
    event["data"]["evidence"] = evidence
    said = " ".join(texts(kind, posted(kind, event)))
    assert [word for word in words if word not in said] == []


@each_kind
@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ("before", ["Before the swap: traffic has not moved. Workloads", "login that serves: 2"]),
        ("after", ["After the swap. Workloads", "an approval takes away: 2"]),
        (None, ["an approval takes away: 2"]),
    ],
)
def test_the_card_says_which_decision_the_evidence_is_for(
    kind: str, gate: str | None, words: list[str]
) -> None:
    event = asking()
    event["data"] |= {"evidence": {"stillInUse": [{}, {}]}, "gate": gate}
    said = " ".join(texts(kind, posted(kind, event)))
    assert [word for word in words if word not in said] == []
    assert ("the swap" in said) == (gate is not None)


@each_kind
def test_without_evidence_nothing_is_said_of_it(kind: str) -> None:
    event = asking()
    del event["data"]["evidence"]
    assert len(texts(kind, posted(kind, event))) == 3
    assert "Evidence" not in json.dumps(posted(kind, event))


def hostile(event: dict[str, Any], text: str = HOSTILE) -> dict[str, Any]:
    event["data"] |= {"text": text, "title": text, "reason": text, "requestedBy": text}
    return event


def test_in_teams_no_text_becomes_a_link_or_a_mention() -> None:
    """Only a text block and a fact know Markdown, and a mention must be declared."""
    made = card(posted("teams", hostile(asking())))
    assert kinds_of(made) == {
        "AdaptiveCard",
        "RichTextBlock",
        "TextRun",
        "Container",
        "Action.OpenUrl",
    }
    assert made["msteams"] == {"width": "Full"}  # no `entities`
    for block in (made["body"][0], *made["body"][1]["items"]):
        assert {key for run in block["inlines"] for key in run} <= {
            "type",
            "text",
            "size",
            "weight",
        }


def kinds_of(document: Any) -> set[str]:
    if isinstance(document, dict):
        below = set().union(*(kinds_of(value) for value in document.values()), set())
        return below | ({document["type"]} if "type" in document else set())
    return (
        set().union(*(kinds_of(item) for item in document), set())
        if isinstance(document, list)
        else set()
    )


def test_in_slack_no_text_becomes_a_link_or_a_mention() -> None:
    """Control sequences begin with `<`, whole words are parsed unless told otherwise."""
    body = posted("slack", hostile(asking()))
    assert body.keys() == {"text", "blocks", "unfurl_links", "unfurl_media"}
    assert (body["unfurl_links"], body["unfurl_media"]) == (False, False)
    header, *sections, _ = body["blocks"]
    assert header["text"]["type"] == "plain_text"
    for text in (body["text"], *(section["text"]["text"] for section in sections)):
        assert not set(text) & set("<>")
        assert re.fullmatch(r"(?:[^&]|&(?:amp|lt|gt);)*", text, re.DOTALL)
    for section in sections:
        assert section["text"] == {
            "type": "mrkdwn",
            "verbatim": True,
            "text": section["text"]["text"],
        }
    assert HOSTILE in texts("slack", body)


@each_kind
@pytest.mark.parametrize("sign", ["x", "<", "&", "\U0001f600", "\u0001", '"'])
def test_however_long_the_texts_are_the_card_is_taken(kind: str, sign: str) -> None:
    body = posted(kind, hostile(asking(), sign * 20000))
    check_limits(kind, body)
    assert all(texts(kind, body))


@each_kind
def test_an_event_of_somebody_else_posts_nothing(kind: str) -> None:
    event = asking() | {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent"}
    assert run(kind, event).sent == []


@each_kind
def test_a_channel_that_is_away_is_tried_again_and_then_somebody_hears_of_it(kind: str) -> None:
    (post,) = [a for name, a in every_action(DEFINITIONS[kind]["actions"]) if a["type"] == "Http"]
    retries = post["inputs"]["retryPolicy"]
    assert (retries["type"], retries["count"]) == ("exponential", 8)
    # The run has failed then, which the alert counts.
    assert run(kind, asking(), ("Failed", {}, 410)).statuses["Is_of_a_rotation"] == "Failed"
    (alert,) = [
        item
        for item in resources("mail-sign-in", "Microsoft.Insights/metricAlerts")
        if f"-{kind}-" in item["name"]
    ]
    (criterion,) = alert["properties"]["criteria"]["allOf"]
    assert criterion["metricName"] == "RunsFailed"
    (scope,) = alert["properties"]["scopes"]
    assert f"logic-rotation-{kind}-" in scope


@each_kind
def test_the_channels_address_is_shown_nowhere(kind: str) -> None:
    definition = DEFINITIONS[kind]
    assert definition["parameters"]["webhook"] == {"type": "SecureString"}
    actions = dict(every_action(definition["actions"]))
    using = [name for name in actions if "parameters('webhook')" in json.dumps(actions[name])]
    assert using == ["Is_of_a_rotation", "Post"]
    secured = {"secureData": {"properties": ["inputs", "outputs"]}}
    assert actions["Post"]["runtimeConfiguration"] == secured
    # The event may hold signed links, so that it is not shown either.
    assert definition["triggers"]["event"]["runtimeConfiguration"] == {
        "secureData": {"properties": ["outputs"]}
    }


def test_a_card_is_posted_by_a_workflow_that_has_no_identity_and_no_key_of_the_app() -> None:
    """It can decide nothing."""
    workflows = [
        item
        for item in resources("mail-sign-in", "Microsoft.Logic/workflows")
        if "-mail-" not in item["name"]
        and item["properties"]["parameters"].keys() == {"appUrl", "webhook"}
    ]
    assert len(workflows) == 2
    for workflow in workflows:
        assert "identity" not in workflow
    for definition in DEFINITIONS.values():
        assert "x-functions-key" not in json.dumps(definition)


@each_kind
def test_bicep_passes_just_the_parameters_that_the_definition_declares(kind: str) -> None:
    text = Bicep(LOGIC.parent / "modules/chat.bicep").resources[0].text
    passed = re.search(r"parameters: \{(.*)\n    \}", text, re.DOTALL)
    assert passed is not None
    names = re.findall(r"^      '?([\w$]+)'?: \{", passed[1], re.MULTILINE)
    assert sorted(names) == sorted(DEFINITIONS[kind]["parameters"])


def test_a_card_is_deployed_only_where_a_secret_names_its_channel() -> None:
    kept = [item["name"] for item in resources("default", "Microsoft.Logic/workflows")]
    assert kept == []
    assert "logic-rotation-prod" in one("mail", "Microsoft.Logic/workflows")["name"]


def test_each_workflow_is_subscribed_where_it_is_there() -> None:
    kind = "Microsoft.EventGrid/topics/eventSubscriptions"
    subscribed = [item["name"].split("/")[1] for item in resources("events-mail", kind)]
    assert subscribed == ["mail", "teams", "slack"]
    assert resources("events", kind) == []
