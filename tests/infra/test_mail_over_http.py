"""The mail workflow against the app on the local stack, every step of it over HTTP.

The interpreter of workflow.py runs the definition. What the Office 365 connector does is done by a
small server: it takes the subscription with its callback address and the mail, and an approver
clicks in it. A callback is taken once, as Logic Apps does.
"""

from __future__ import annotations

import json
import queue
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import urllib3

from local import world
from local.process import wait_until
from tests.e2e.site import asked, published
from tests.infra.test_mail_workflow import DEFINITION
from tests.infra.workflow import Result, Workflow

if TYPE_CHECKING:
    from local.stack import Stack

HTTP = urllib3.PoolManager(maxsize=10, retries=False, timeout=urllib3.Timeout(connect=5, read=60))
ADA, GRACE = world.APPROVERS


class Office:
    """The connector's service and the callbacks of runs, on one port.

    `clicks` says what each approver clicks, in this order; `answers` how each was answered.
    """

    def __init__(self, clicks: dict[str, list[str]]) -> None:
        self.clicks = clicks
        self.answers: list[int] = []
        self.mails: list[dict[str, Any]] = []
        self.callbacks: dict[str, queue.SimpleQueue[dict[str, Any]]] = {}
        office = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                status = office.take(self.path, json.loads(self.rfile.read(length)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: the test's own output is enough."""

        self._clicking: list[threading.Thread] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        for thread in self._clicking:
            thread.join()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def take(self, path: str, body: dict[str, Any]) -> int:
        if path == "/v2/Mail":
            self.mails.append(body)
            return 200
        if path == "/approvalmail/$subscriptions":
            self._clicking.append(threading.Thread(target=self._click, args=(body,)))
            self._clicking[-1].start()
            return 201
        waiting = self.callbacks.pop(path, None)
        if waiting is None:
            return 404  # a run takes its callback once
        waiting.put(body)
        return 200

    def _click(self, subscription: dict[str, Any]) -> None:
        approver = subscription["Message"]["To"]
        for option in self.clicks.get(approver, []):
            answer = {"SelectedOption": option, "UserEmailAddress": approver, "UserId": "1"}
            self.answers.append(post(subscription["NotificationUrl"], answer).status)


def post(url: str, body: Any, headers: dict[str, str] | None = None) -> urllib3.BaseHTTPResponse:
    return HTTP.request("POST", url, json=body, headers=headers or {})


class Run(Workflow):
    """One run of the workflow; `patience` is what the limit of 60 days is here, in seconds."""

    def __init__(self, stack: Stack, office: Office, patience: float) -> None:
        self.office = office
        self.patience = patience
        self.decided: list[int] = []
        self.asked = 0
        parameters = {
            "$connections": {"office365": {"connectionId": "/connections/office365"}},
            "appUrl": stack.components["host"].url,
            "audience": "",
            "decisionKey": stack.keys["function"],
            "fallbackRecipients": ["oncall@example.com"],
            "identity": "/identities/mail",
        }
        super().__init__(DEFINITION, parameters, self._call)

    def callback(self) -> str:
        self.asked += 1
        return f"{self.office.url}/runs/{self.asked}"

    def _call(self, _: str, inputs: dict[str, Any]) -> Result:
        if "path" not in inputs:
            return self._decide(inputs)
        if not inputs["path"].endswith("$subscriptions"):
            answer = post(self.office.url + inputs["path"], inputs["body"])
            return "Succeeded", None, answer.status
        return self._ask(inputs)

    def _ask(self, inputs: dict[str, Any]) -> Result:
        """Subscribes, and waits for the callback or the limit."""
        waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        path = inputs["body"]["NotificationUrl"].removeprefix(self.office.url)
        self.office.callbacks[path] = waiting
        assert post(self.office.url + inputs["path"], inputs["body"]).status == 201
        try:
            return "Succeeded", waiting.get(timeout=self.patience)
        except queue.Empty:
            del self.office.callbacks[path]
            return "TimedOut", None

    def _decide(self, inputs: dict[str, Any]) -> Result:
        answer = post(inputs["uri"], inputs["body"], inputs["headers"])
        self.decided.append(answer.status)
        return "Succeeded" if answer.status < 400 else "Failed", answer.json(), answer.status


def asking(stack: Stack) -> tuple[str, dict[str, Any]]:
    """A rotation that waits for its approval, and the event that announced it."""
    rotation = asked(stack)
    found: list[dict[str, Any]] = []

    def arrived() -> bool:
        found[:] = [
            event
            for event in published(stack)
            if event["eventType"] == "CredentialRotation.AwaitingApproval"
            and event["data"]["rotation"] == rotation
        ]
        return bool(found)

    wait_until(arrived, 20, "the event that asks")
    return rotation, found[0]


def run(stack: Stack, event: dict[str, Any], clicks: dict[str, list[str]], **more: Any) -> Run:
    office = Office(clicks)
    try:
        made = Run(stack, office, more.get("patience", 30))
        made.run(event)
    finally:
        office.close()
    return made


@pytest.mark.long
@pytest.mark.timeout(300)
def test_the_first_click_decides_and_every_later_one_is_told_so(stack: Stack) -> None:
    rotation, event = asking(stack)
    done = run(stack, event, {ADA: ["Approve", "Reject"], GRACE: ["Reject"]})
    record = stack.client.follow(rotation, lambda r: r["outcome"], timeout=150)
    assert record["outcome"] == "completed"
    assert record["decision"]["by"] == ADA
    assert sorted(done.office.answers) == [200, 200, 404]  # Ada's second click came to nothing
    assert done.decided == [200, 409]
    (told,) = done.office.mails
    assert told["To"] == GRACE
    assert told["Subject"].startswith("Not counted")
    assert "409" in told["Body"]


@pytest.mark.long
@pytest.mark.timeout(300)
def test_a_mail_that_nobody_answers_decides_nothing_and_a_rejection_rolls_back(
    stack: Stack,
) -> None:
    rotation, event = asking(stack)
    silent = run(stack, event, {}, patience=0.2)
    assert silent.decided == []
    assert stack.client.rotation(rotation)["decision"] is None
    done = run(stack, event, {ADA: ["Reject"]}, patience=3)
    record = stack.client.follow(rotation, lambda r: r["outcome"], timeout=150)
    assert record["outcome"] == "rolled-back"
    assert done.decided == [200]
