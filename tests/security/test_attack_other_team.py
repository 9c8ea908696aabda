"""Somebody of another team, signed in: nothing that they ask tells of a credential not theirs.

Each route is asked in two apps, one with the credential and one in which it never was: the answers
are the same, and its name is in none.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from azure.durable_functions import OrchestrationRuntimeStatus as Status

from rotation.config import Configuration
from rotation.front import api, archive, samples
from rotation.front.rotations import describe
from rotation.model import wire
from rotation.model.errors import ConfigurationError, Unavailable
from rotation.model.reasons import Code
from rotation.model.waves import Wave, WaveMember
from rotation.pages import routes
from tests.memory.edges import MemoryEdges
from tests.security.attacked import (
    ADA_ID,
    APP_ID,
    GRACE,
    GRACE_ID,
    NOW,
    ORIGIN,
    Answer,
    App,
    Instance,
    application,
    document,
    entra_app,
    links_app,
    person,
    waiting,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

THEIRS, OURS, LOST, NOWHERE = "payroll-db", "billing-db", "legacy-db", "nobody-db"
WORDS = ("payroll", "legacy")  # in everything of theirs, and in nothing of ours
OTHER = person(GRACE_ID, GRACE)  # of the team of billing-db
OWN = person(ADA_ID, "ada@contoso.example")
STAMP = "20261124T025000"


def file(*names: str, **lists: Any) -> Configuration:
    """These credentials, each with lists of its own team; `lists` are theirs instead."""
    found = document([])
    entry = json.dumps(found["credentials"].pop("orders-db"))
    for name in names:
        own = json.loads(entry.replace("orders", name.removesuffix("-db")))
        member = GRACE_ID if name == OURS else ADA_ID
        own |= {"viewers": [f"See.{name}", member], "starters": [f"Start.{name}"]}
        own |= lists if name == THEIRS else {}
        own["approval"] = {"approvers": [f"Approve.{name}"]}
        found["credentials"][name] = own
    return Configuration.model_validate(found)


def rotation(credential: str, number: int, **shown: Any) -> Instance:
    """A rotation at its approval, or as `shown`."""
    own = f"{credential}-{STAMP}-{number:04x}"
    request = {
        "rotation": own,
        "credential": credential,
        "requestedBy": "Key Vault",
        "reason": f"of {credential}",
        "origin": "manual",
        "restricted": True,
    }
    status = {**waiting(request), **shown}
    ended = status["outcome"] is not None
    return Instance(
        own,
        "rotation",
        request,
        custom_status=status,
        output=status if ended else None,
        runtime_status=Status.Completed if ended else Status.Running,
    )


def wave_id(*credentials: str) -> str:
    return f"wave.{STAMP}-{hashlib.sha256(repr(credentials).encode()).hexdigest()[:4]}"


def wave(*credentials: str) -> Instance:
    """A wave of one team, or of several, which its canary has stopped."""
    members = [WaveMember(credential=one, rotation=f"{one}-{STAMP}-0000") for one in credentials]
    found = Wave(
        wave=wave_id(*credentials),
        requested_by="somebody",
        reason="the yearly one",
        select={"credentials": list(credentials)},
        first=1,
        size=2,
        pause=0.0,
        stop_after=1,
        members=members,
        started=wire.moment(NOW),
        phase="stopped",
        why=f"the canary failed: {credentials[0]}",
        cancelling=None,
    )
    value = wire.value_of(found)
    status = Status.Completed
    return Instance(found.wave, "wave", value, output=value, runtime_status=status)


WAITS, ENDED, STARTING, KEPT = range(4)


def rotations(credential: str) -> list[Instance]:
    ended = {"outcome": "aborted", "outcomeReason": f"of {credential}", "approval": None}
    cancelling = {"event": "cancel-1", "gate": 1, "ignored": []}
    return [
        rotation(credential, WAITS),
        rotation(credential, ENDED, stage="done", **ended),
        rotation(credential, STARTING, stage="prepare", approval=None, cancelling=cancelling),
    ]


def app(*names: str, lost: bool = False) -> App:
    """With rotations of each credential, of every kind; `lost`: of one that is gone as well."""
    site = entra_app([])
    settings = site.edges.settings
    site.edges = MemoryEdges(file(*names), settings, NOW)
    blueprints = (api.blueprint(site.edges), routes.blueprint(site.edges))
    site._functions = {  # noqa: SLF001 - as the app does it
        builder._function.get_function_name(): builder._function.get_user_function()  # noqa: SLF001
        for blueprint in blueprints
        for builder in blueprint._function_builders  # noqa: SLF001
    }
    for name in (*names, *([LOST] if lost else [])):
        for one in rotations(name):
            site.client.instances[one.instance_id] = one
        site.client.instances[wave_id(name)] = wave(name)
        over = rotation(name, KEPT, stage="done", outcome="completed", approval=None)
        archive.write(site.edges.store("records"), describe(over))
    # What was found lately is kept, and theirs was looked at by somebody who may.
    asyncio.run(samples.listed(site.edges, site.client, names))
    return site


@dataclass(frozen=True)
class Call:
    """A request; `{name}` and `{id}` in it stand for the credential, and a rotation of it."""

    function: str
    method: str = "GET"
    body: Any = None
    params: dict[str, str] = field(default_factory=dict)
    number: int | None = None  # of the rotation in the route
    named: bool = False  # whether the route has a credential's name
    wave: bool = False  # whether it has a wave's

    def __str__(self) -> str:
        given = {**self.params, **(self.body or {})}
        return f"{self.method} {self.function} {self.number} {given}"

    def of(self, site: App, name: str, headers: Mapping[str, str]) -> Answer:
        own = f"{name}-{STAMP}-{self.number or 0:04x}"

        def filled(value: Any) -> Any:
            return json.loads(json.dumps(value).replace("{name}", name).replace("{id}", own))

        route = {"id": own} if self.number is not None else {"name": name} if self.named else {}
        route = {"id": wave_id(name)} if self.wave else route
        headers, body = dict(headers), filled(self.body)
        if self.function.endswith("_page") and self.method == "POST":
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": ORIGIN}
            body = urlencode(body).encode()
        elif self.method == "GET":
            body = b""
        params = filled(self.params)
        return site.ask(self.function, self.method, body, headers=headers, params=params, **route)


DECISION = {"decision": "reject", "comment": "x"}
CALLS = [
    Call("start_rotation", "POST", {"credential": "{name}"}),
    Call("start_rotation", "POST", {"credential": "{name}", "dryRun": True}),
    Call("start_rotation", "POST", {"credential": "{name}", "waive": ["active-not-healthy"]}),
    Call("start_rotation", "POST", {"credential": "{name}", "waive": ["no-such-code"]}),
    Call("start_rotation", "POST", {"credential": "{name}", "by": "x@y.example"}),
    Call("list_rotations"),
    Call("list_rotations", params={"limit": "1"}),
    Call("list_rotations", params={"credential": "{name}"}),
    Call("list_rotations", params={"credential": "{name}", "limit": "1"}),
    *(Call("get_rotation", number=number) for number in range(4)),
    *(Call("get_evidence", number=number) for number in range(4)),
    *(Call("decide", "POST", DECISION, number=number) for number in range(4)),
    Call("decide", "POST", {"decision": "neither"}, number=WAITS),
    *(Call("cancel_rotation", "POST", {"comment": "x"}, number=number) for number in range(4)),
    *(Call("retry_rotation", "POST", {"reason": "x"}, number=number) for number in range(4)),
    Call("list_credentials"),
    Call("list_credentials", params={"fresh": "true"}),
    Call("get_credential", named=True),
    Call("get_credential", named=True, params={"fresh": "true"}),
    Call("openapi"),
    Call("overview_page"),
    Call("overview_page", params={"fresh": "true"}),
    Call("overview_page", params={"page": "2"}),
    Call("credential_page", named=True),
    Call("history_page"),
    Call("history_page", params={"credential": "{name}"}),
    *(Call("rotation_page", number=number) for number in range(4)),
    *(Call("rotation_page", number=number, params={"do": "cancel"}) for number in range(4)),
    *(Call("rotation_page", "POST", DECISION, number=number) for number in range(4)),
    *(
        Call("rotation_page", "POST", {"do": deed, "sure": "yes"}, number=number)
        for number in range(4)
        for deed in ("cancel", "again")
    ),
    Call("list_waves"),
    Call("get_wave", wave=True),
    Call("cancel_wave", "POST", {"comment": "x"}, wave=True),
    Call("waves_page"),
    Call("wave_page", wave=True),
    Call("wave_page", wave=True, params={"do": "cancel"}),
    Call("wave_page", "POST", {"do": "cancel", "sure": "yes"}, wave=True),
    Call("start_rotation", "POST", {"select": {"credentials": ["{name}"]}}),
    Call("start_rotation", "POST", {"select": {"all": True}, "dryRun": True}),
    Call("start_rotation", "POST", {"credential": "{name}", "compromised": True}),
    Call("credential_page", params={"do": "incident"}, named=True),
    Call("credential_page", "POST", {"confirmCredential": "{name}"}, named=True),
    Call("decision_page", params={"link": "forged"}),
    Call("guide_page", named=True),
]
# Of a function key alone, which sees all: docs/approvals.md says so.
BY_KEY = {"health"}


def told(answer: Answer, asked: str) -> str:
    """What an answer says, without what was asked, and what differs from one moment to another."""
    headers = {key: value for key, value in answer.headers.items() if key != "Set-Cookie"}
    text = f"{answer.status} {sorted(headers.items())} {answer.text}".replace(asked, "?-db")
    return re.sub(r'"milliseconds": \d+|in \d+\.\d s|wave\.[0-9]{8}T[0-9]{6}-[0-9a-f]{4}', "", text)


def test_every_route_is_asked() -> None:
    site = bare()
    assert {call.function for call in CALLS} | BY_KEY == set(site._functions)  # noqa: SLF001


# Refusals and looks change nothing, so that many share one app.
full = cache(partial(app, THEIRS, OURS, lost=True))
bare = cache(partial(app, OURS))


@pytest.mark.parametrize("call", CALLS, ids=str)
@pytest.mark.parametrize("asked", [THEIRS, LOST])
def test_theirs_is_as_if_it_were_not_there(call: Call, asked: str) -> None:
    found, never = call.of(full(), asked, OTHER), call.of(bare(), asked, OTHER)
    assert told(found, asked) == told(never, asked)
    for word in WORDS:
        assert word not in told(found, asked)
    nowhere = call.of(full(), NOWHERE, OTHER)
    assert told(found, asked) == told(nowhere, NOWHERE)
    assert full().client.events == []
    assert not full().client.instances.keys() & {THEIRS, OURS, LOST}


@pytest.mark.parametrize("call", [call for call in CALLS if call.method == "GET"], ids=str)
def test_answers_about_ours_say_nothing_of_theirs(call: Call) -> None:
    found = call.of(full(), OURS, OTHER)
    for word in WORDS:
        assert word not in told(found, OURS)
    if call.function not in {"decision_page", "guide_page"} and call.params != {"page": "2"}:
        assert found.status != 404


def test_whoever_is_listed_sees_it() -> None:
    """Or the tests above would show nothing."""
    site = full()
    for function in ("overview_page", "history_page", "list_rotations", "list_credentials"):
        assert THEIRS in Call(function).of(site, THEIRS, OWN).text, function
    for call in (Call("rotation_page", number=WAITS), Call("get_rotation", number=KEPT)):
        assert call.of(site, THEIRS, OWN).status == 200


def test_of_a_wave_of_several_teams_each_sees_its_own() -> None:
    """Neither what was selected, nor why it stopped or may not be cancelled, tells of theirs."""
    site = app(THEIRS, OURS)
    both = wave(THEIRS, OURS)
    site.client.instances = {both.instance_id: both}
    route: dict[str, Any] = {"id": both.instance_id}
    for name in ("list_waves", "get_wave", "waves_page", "wave_page"):
        found = site.ask(name, "GET", b"", headers=OTHER, **route)
        assert found.status == 200, found.text
        assert not [word for word in WORDS if word in found.text], name
        assert "that you do not see" in found.text or name == "waves_page"
    both.runtime_status, both.input_ = Status.Running, {**both.input_, "cancelling": "cancel-1"}
    found = site.ask("cancel_wave", "POST", {"comment": "x"}, headers=OTHER, **route)
    assert (found.status, site.client.events) == (403, [])
    assert not [word for word in WORDS if word in found.text]


@pytest.mark.parametrize("list_of", ["Start", "Approve"])
def test_starters_and_approvers_see_it_too(list_of: str) -> None:
    site = full()
    who = person("40c8e6f2-0000-4000-8000-000000000000", roles=f"{list_of}.{THEIRS}")
    assert Call("get_rotation", number=WAITS).of(site, THEIRS, who).status == 200
    seen = Call("list_credentials").of(site, THEIRS, who).json["credentials"]
    assert [one["credential"] for one in seen] == [THEIRS]


def test_an_application_came_in_by_a_key_and_sees_all_over_the_api_but_on_no_page() -> None:
    site, program = full(), application(APP_ID)
    listed = Call("list_credentials").of(site, THEIRS, program).json["credentials"]
    assert [one["credential"] for one in listed] == [OURS, THEIRS]
    assert Call("rotation_page", number=WAITS).of(site, THEIRS, program).status == 404


def started(headers: Mapping[str, str], name: str = THEIRS, **body: Any) -> tuple[int, str]:
    site = app(THEIRS, OURS)
    answer = site.ask("start_rotation", body={"credential": name, **body}, headers=headers)
    assert (answer.status == 202) is (name in site.client.instances)
    return answer.status, answer.json.get("detail", "")


def test_a_viewer_starts_nothing_and_is_told_who_may() -> None:
    status, said = started(OWN)
    assert status == 403
    assert "ada@contoso.example: it can be started by Start.payroll-db" in said
    assert started(OWN, dryRun=True)[0] == 200
    assert started(person(ADA_ID, roles=f"Start.{THEIRS}"))[0] == 202


def test_an_application_starts_for_itself_or_in_a_name_that_is_listed() -> None:
    program = application(APP_ID)
    assert started(program)[0] == 403
    assert started(program, by="ada@contoso.example")[0] == 403
    site = app(THEIRS, OURS)
    starters = [APP_ID, {"id": ADA_ID, "address": "ada@contoso.example"}]
    site.edges.configuration = file(THEIRS, OURS, starters=starters)
    for body in ({}, {"by": "ada@contoso.example"}):
        site.client.instances.pop(THEIRS, None)
        given = {"credential": THEIRS, **body}
        answer = site.ask("start_rotation", body=given, headers=program)
        assert answer.status == 202, answer.text
    assert site.client.instances[THEIRS].input_["objectId"] == ADA_ID


def again(site: App, headers: Mapping[str, str], opened: Mapping[str, str], **given: str) -> Answer:
    """Posts the form that starts a rotation again, as one opened it and another sends it."""
    call = Call("rotation_page", number=ENDED, params={"do": "again"})
    page = call.of(site, THEIRS, opened)
    token = page.text.partition('name="token" value="')[2].partition('"')[0]
    cookie = page.headers.get("Set-Cookie", "").partition(";")[0]
    form = {"do": "again", "sure": "yes", "comment": "x", "token": token, **given}
    post = Call("rotation_page", "POST", form, number=ENDED)
    return post.of(site, THEIRS, {**headers, "Cookie": cookie})


def test_the_form_to_start_again_is_for_starters_also_when_it_is_posted() -> None:
    site, starter = (
        app(THEIRS, OURS),
        person(ADA_ID, "ada@contoso.example", roles=f"Start.{THEIRS}"),
    )
    page = Call("rotation_page", number=ENDED, params={"do": "again"}).of(site, THEIRS, OWN)
    assert "You cannot do this" in page.text
    assert f"it can be started by Start.{THEIRS}" in page.text
    taken_off = again(site, OWN, starter)
    assert (taken_off.status, THEIRS in site.client.instances) == (403, False)
    assert "it can be started by" in taken_off.text
    assert again(site, starter, starter).status == 303
    assert site.client.instances[THEIRS].input_["restricted"] is True


def test_with_a_function_key_the_name_on_the_form_is_one_of_the_starters() -> None:
    site = app(THEIRS, OURS)
    site.edges.settings = links_app([]).edges.settings
    site.edges.configuration = file(THEIRS, OURS, starters=["ada@contoso.example"])
    key = {"x-functions-key": "k"}
    assert again(site, key, key, by=GRACE).status == 403
    assert again(site, key, key, by="Ada@contoso.example").status == 303


def test_a_cancel_is_for_starters_and_approvers() -> None:
    site, call = app(THEIRS, OURS), Call("cancel_rotation", "POST", {}, number=STARTING)
    refused = call.of(site, THEIRS, OWN)
    assert refused.status == 403
    assert f"by Start.{THEIRS}, Approve.{THEIRS}" in refused.json["detail"]
    assert "approver" not in refused.json["remedy"]  # it is not they alone
    page = Call("rotation_page", number=STARTING, params={"do": "cancel"})
    assert "You cannot do this" in page.of(site, THEIRS, OWN).text
    for role in ("Start", "Approve"):
        who = person(ADA_ID, "ada@contoso.example", roles=f"{role}.{THEIRS}")
        assert "You cannot do this" not in page.of(site, THEIRS, who).text


@pytest.mark.parametrize("number", range(4))
def test_while_the_storage_is_away_it_is_still_as_if_it_were_not_there(number: int) -> None:
    """A rotation that is not there is looked for in the storage too, and not found out about."""
    site = app(THEIRS, OURS)
    away = Unavailable(Code.STORAGE_UNAVAILABLE, "the account does not answer")
    site.edges.calls.failing = {"storage read": away}
    for function in ("get_rotation", "rotation_page"):
        call = Call(function, number=number)
        hidden, nowhere = call.of(site, THEIRS, OTHER), call.of(site, NOWHERE, OTHER)
        assert hidden.status == 503
        assert told(hidden, THEIRS) == told(nowhere, NOWHERE)


class Broken(MemoryEdges):
    """Whose file cannot be read, and would say why."""

    @property
    def configuration(self) -> Configuration:
        raise ConfigurationError("credentials.yaml", [f"credentials.{THEIRS}.vault: is missing"])

    @configuration.setter
    def configuration(self, value: Configuration) -> None:
        pass


@cache
def broken() -> App:
    site = app(OURS)
    site.edges.__class__ = Broken
    return site


@pytest.mark.parametrize("call", CALLS, ids=str)
def test_a_file_that_cannot_be_read_names_nobodys_credential(call: Call) -> None:
    """Nobody can say who sees which."""
    found = call.of(broken(), OURS, OTHER)
    for word in WORDS:
        assert word not in told(found, OURS)
