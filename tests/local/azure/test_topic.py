"""The custom topic, through azure-eventgrid; delivery and inbox over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from local.process import Component, wait_until
from tests.local.azure.support import ADMIN, Admin, Webhook, fetch, fetch_json, webhook

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from azure.identity import ManagedIdentityCredential


def start_topic(state: Path, name: str, *args: str) -> Component:
    return Component.module(
        "topic",
        *("--state", str(state / name), "--identity-state", str(state / "identity")),
        *args,
        log=state / f"{name}.log",
        env=ADMIN,
    )


@pytest.fixture(scope="module")
def topic(identity: Component, state: Path) -> Iterator[Component]:
    with start_topic(state, "topic") as component:
        yield component


@pytest.fixture
def after(topic: Component) -> int:
    """The sequence number of the last event before the test."""
    return int(events(topic)["last"])


@pytest.fixture
def publisher(topic: Component) -> Iterator[Publisher]:
    with Publisher(topic) as publisher:
        yield publisher
    Admin(topic).clear()


class Publisher:
    """The SDK's client without retries.

    Its constructor drops transport options (azure-eventgrid 4.22.1), so each send gets them.
    """

    def __init__(self, topic: Component, credential: Any = None, **options: Any) -> None:
        self._client = EventGridPublisherClient(topic.url, credential or key_of(topic), **options)
        self._transport: dict[str, Any] = {
            "connection_verify": str(topic.facts["ca"]),
            "retry_total": 0,
        }

    def send(self, events: Any) -> None:
        self._client.send(events, **self._transport)

    def __enter__(self) -> Publisher:
        self._client.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._client.__exit__(*error)


def key_of(topic: Component) -> AzureKeyCredential:
    return AzureKeyCredential(Path(str(topic.facts["key_file"])).read_text())


def viewer(topic: Component, path: str) -> str:
    return f"{topic.facts['viewer']}{path}"


def events(topic: Component, after: int = 0) -> Any:
    return fetch_json(viewer(topic, f"/events?after={after}"))[1]


def grid_event(subject: str = "orders-db", **data: object) -> EventGridEvent:
    return EventGridEvent(
        subject=subject, event_type="Rotation.AwaitingApproval", data=data, data_version="1.0"
    )


def cloud_event(**data: object) -> CloudEvent[Any]:
    return CloudEvent(source="/rotation", type="Rotation.Completed", subject="orders-db", data=data)


def mapping(**changes: object) -> dict[str, Any]:
    """An event in Event Grid's schema; a change to None leaves the property out."""
    event = {
        "id": "1",
        "subject": "orders-db",
        "eventType": "Rotation.Started",
        "eventTime": datetime.now(UTC).isoformat(),
        "dataVersion": "1.0",
        "data": {},
        **changes,
    }
    return {key: value for key, value in event.items() if value is not None}


class TestPublishing:
    def test_grid_events_are_stored_with_what_the_topic_stamps(
        self, topic: Component, publisher: Publisher, after: int
    ) -> None:
        publisher.send([grid_event("orders-db", a=1), grid_event("stock-db", a=2)])
        stored = [each["event"] for each in events(topic, after)["events"]]
        assert [(each["subject"], each["data"]) for each in stored] == [
            ("orders-db", {"a": 1}),
            ("stock-db", {"a": 2}),
        ]
        assert {each["metadataVersion"] for each in stored} == {"1"}
        assert all(each["topic"].endswith("/topics/notifications") for each in stored)

    def test_cloud_events(self, topic: Component, publisher: Publisher, after: int) -> None:
        sent = [cloud_event(a=1), cloud_event(a=2)]
        publisher.send(sent)
        stored = [each["event"] for each in events(topic, after)["events"]]
        assert [each["id"] for each in stored] == [each.id for each in sent]
        assert {each["specversion"] for each in stored} == {"1.0"}

    def test_cloud_event_with_bytes(
        self, topic: Component, publisher: Publisher, after: int
    ) -> None:
        publisher.send(CloudEvent(source="/rotation", type="Raw", data=b"\x00\xff"))
        (stored,) = events(topic, after)["events"]
        assert stored["event"]["data_base64"] == "AP8="

    def test_managed_identity(
        self, topic: Component, credential: ManagedIdentityCredential, after: int
    ) -> None:
        with Publisher(topic, credential) as client:
            client.send(grid_event())
        assert len(events(topic, after)["events"]) == 1

    def test_authority_from_the_environment(
        self, topic: Component, after: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """How an app whose code knows nothing of the local authority trusts it."""
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(topic.facts["ca"]))
        with EventGridPublisherClient(topic.url, key_of(topic)) as client:
            client.send(grid_event())
        assert len(events(topic, after)["events"]) == 1

    def test_key_bad(self, topic: Component, after: int) -> None:
        with (
            Publisher(topic, AzureKeyCredential("guess")) as client,
            pytest.raises(ClientAuthenticationError, match="not authorized"),
        ):
            client.send(grid_event())
        assert events(topic, after)["events"] == []

    def test_without_credentials(self, topic: Component) -> None:
        status, answer = fetch_json(
            f"{topic.url}?api-version=2018-01-01",
            method="POST",
            body=[mapping()],
            ca=topic.facts["ca"],
        )
        assert (status, answer["error"]["code"]) == (401, "Unauthorized")

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"id": ""}, "'id'"),
            ({"id": 7}, "'id'"),
            ({"subject": None}, "'subject'"),
            ({"eventType": None}, "'eventType'"),
            ({"dataVersion": None}, "'dataVersion'"),
            ({"eventTime": "soon"}, "'eventTime'"),
            ({"topic": "/another"}, "'topic'"),
            ({"metadataVersion": "2"}, "'metadataVersion'"),
            ({"approve": "https://x"}, "unexpected property 'approve'"),
        ],
    )
    def test_grid_event_bad(
        self, topic: Component, after: int, changes: dict[str, object], message: str
    ) -> None:
        """One bad event refuses the whole batch."""
        status, answer = self.post(topic, [mapping(), mapping(**changes)], "application/json")
        assert (status, answer["error"]["code"]) == (400, "BadRequest")
        assert answer["error"]["details"][0]["code"] == "InputJsonInvalid"
        assert message in answer["error"]["message"]
        assert events(topic, after)["events"] == []

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"source": ""}, "'source'"),
            ({"specversion": "0.3"}, "specversion"),
            ({"Upper": "x"}, "'Upper'"),
            ({"subject": 7}, "'subject'"),
            ({"time": "soon"}, "'time'"),
            ({"data_base64": "AA=="}, "not both"),
            ({"data": None, "data_base64": "%"}, "base64"),
        ],
    )
    def test_cloud_event_bad(
        self, topic: Component, changes: dict[str, object], message: str
    ) -> None:
        event = {"id": "1", "source": "/x", "type": "T", "specversion": "1.0", "data": {}}
        status, answer = self.post(
            topic, [{**event, **changes}], "application/cloudevents-batch+json"
        )
        assert (status, answer["error"]["code"]) == (400, "BadRequest")
        assert message in answer["error"]["message"]

    def test_one_grid_event_must_be_in_an_array(self, topic: Component) -> None:
        status, answer = self.post(topic, mapping(), "application/json")
        assert status == 400
        assert "StartArray" in answer["error"]["message"]

    def test_batch_too_large(self, publisher: Publisher) -> None:
        with pytest.raises(HttpResponseError) as caught:
            publisher.send(grid_event(a="x" * 1024 * 1024))
        assert caught.value.status_code == 413

    def test_wrong_api_version(self, topic: Component) -> None:
        with (
            Publisher(topic, api_version="2017-01-01") as client,
            pytest.raises(HttpResponseError, match="api-version"),
        ):
            client.send(grid_event())

    @pytest.mark.parametrize("status", [429, 503])
    def test_ordered_failure(
        self, topic: Component, publisher: Publisher, after: int, status: int
    ) -> None:
        Admin(topic).fault(match={"method": "POST"}, status=status, retry_after=1)
        with pytest.raises(HttpResponseError) as caught:
            publisher.send(grid_event())
        assert caught.value.status_code == status
        publisher.send(grid_event())
        assert len(events(topic, after)["events"]) == 1

    def post(self, topic: Component, body: object, content_type: str) -> tuple[int, Any]:
        return fetch_json(
            f"{topic.url}?api-version=2018-01-01",
            method="POST",
            body=body,
            headers={"aeg-sas-key": key_of(topic).key, "Content-Type": content_type},
            ca=topic.facts["ca"],
        )


def test_accepted_events_survive_a_kill(
    state: Path, tmp_path: Path, started: Callable[[Component], Component]
) -> None:
    topic = started(start_topic(state, f"killed-{tmp_path.name}"))
    with Publisher(topic) as client:
        client.send([grid_event(n=number) for number in range(5)])
    key = key_of(topic).key
    topic.kill()
    started(topic)
    assert [e["event"]["data"]["n"] for e in events(topic)["events"]] == [0, 1, 2, 3, 4]
    assert key_of(topic).key == key


class TestDelivery:
    @pytest.fixture
    def hook(self) -> Iterator[Webhook]:
        with webhook() as hook:
            yield hook

    @pytest.fixture
    def delivering(
        self,
        state: Path,
        tmp_path: Path,
        hook: Webhook,
        started: Callable[[Component], Component],
    ) -> Component:
        name = f"delivering-{tmp_path.name}"
        args = ("--subscribe", hook.url, "--retry-scale", "0.01")
        topic = started(start_topic(state, name, *args))
        url = viewer(topic, "/subscriptions")
        wait_until(lambda: fetch_json(url)[1][0]["validated"], 10, "the handshake")
        return topic

    def test_each_event_in_a_request_of_its_own(self, delivering: Component, hook: Webhook) -> None:
        with Publisher(delivering) as client:
            client.send([grid_event("a"), grid_event("b")])
        wait_until(lambda: len(hook.received) == 2, 10, "both deliveries")
        assert all(len(post.body) == 1 for post in hook.received)
        assert {event["subject"] for event in hook.events()} == {"a", "b"}

    def test_cloud_event_goes_out_as_one(self, delivering: Component, hook: Webhook) -> None:
        sent = cloud_event(a=1)
        with Publisher(delivering) as client:
            client.send(sent)
        wait_until(lambda: hook.received, 10, "the delivery")
        (post,) = hook.received
        assert post.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert (post.body["id"], post.body["data"]) == (sent.id, {"a": 1})

    def test_refused_event_comes_again(self, delivering: Component, hook: Webhook) -> None:
        hook.answers = [500]
        with Publisher(delivering) as client:
            client.send(grid_event())
        wait_until(lambda: len(hook.received) == 2, 10, "the second attempt")
        assert hook.events()[0] == hook.events()[1]


class Page(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def values(self, tag: str, attribute: str) -> list[str | None]:
        return [attrs.get(attribute) for name, attrs in self.tags if name == tag]


class TestInbox:
    def test_a_mail_for_each_event_newest_first(
        self, topic: Component, publisher: Publisher
    ) -> None:
        publisher.send(grid_event("first-db"))
        publisher.send(
            grid_event("second-db", links={"approve": "https://app/a?token=x&y=1"}, note="text")
        )
        newest, older, *_ = fetch_json(viewer(topic, "/inbox.json"))[1]
        assert newest["mail"]["subject"] == "Rotation.AwaitingApproval: second-db"
        assert newest["mail"]["links"] == [
            {"label": "links.approve", "url": "https://app/a?token=x&y=1"}
        ]
        assert older["mail"]["subject"].endswith("first-db")
        status, _, page = fetch(viewer(topic, "/inbox"))
        assert status == 200
        assert "https://app/a?token=x&y=1" in Page(page).values("a", "href")

    def test_markup_in_an_event_is_text(self, topic: Component, publisher: Publisher) -> None:
        publisher.send(
            grid_event(
                "<script>alert(1)</script>",
                message="<img src=x onerror=alert(1)>",
                link="https://x/\"onmouseover='alert(1)'",
                bad="javascript:alert(1)",
            )
        )
        _, _, text = fetch(viewer(topic, "/inbox"))
        page = Page(text)
        assert not {"script", "img"} & {tag for tag, _ in page.tags}
        assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)
        assert not any(str(url).startswith("javascript") for url in page.values("a", "href"))
        assert "&lt;script&gt;" in text

    def test_page_allows_nothing_but_its_own_style(self, topic: Component) -> None:
        _, headers, text = fetch(viewer(topic, "/inbox"))
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'self';")
        assert "unsafe" not in policy
        assert Page(text).values("link", "href") == ["/inbox.css"]
        assert not any("style" in attrs for _, attrs in Page(text).tags)
        status, headers, style = fetch(viewer(topic, "/inbox.css"))
        assert (status, headers["content-type"]) == (200, "text/css; charset=utf-8")
        assert "light dark" in style

    @pytest.mark.parametrize("after", ["-1", "x", ""])
    def test_events_after_bad(self, topic: Component, after: str) -> None:
        assert fetch(viewer(topic, f"/events?after={after}"))[0] == 400

    def test_viewer_publishes_nothing(self, topic: Component) -> None:
        assert fetch(viewer(topic, "/api/events"), method="POST", body=[mapping()])[0] == 404
