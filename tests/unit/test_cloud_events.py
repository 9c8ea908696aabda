"""Key Vault's events as the library decodes them: in Event Grid's schema, and as CloudEvents.

See https://learn.microsoft.com/azure/event-grid/cloud-event-schema for the second.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from azure.functions import meta
from azure.functions.eventgrid import EventGridEventInConverter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rotation.front import triggers
from tests.security.attacked import ADA, CREDENTIAL, links_app
from tests.unit.people import handlers
from tests.unit.test_events import JSON

SOURCE = "/subscriptions/s/resourceGroups/g/providers/Microsoft.KeyVault/vaults/kv-orders"
NEAR = "Microsoft.KeyVault.SecretNearExpiry"
VAULT = "https://kv-orders.vault.azure.net"


class Receiver:
    """The app's trigger, with a credential whose active secret expires in 20 days."""

    def __init__(self) -> None:
        self.app = links_app([ADA])
        found = self.app.edges.world.vault_at(VAULT).latest("orders-blue")
        assert found is not None
        self.version = found.version
        self._function = handlers(triggers.blueprint(self.app.edges))["on_secret_event"]

    @property
    def data(self) -> dict[str, Any]:
        return {
            "Id": f"{VAULT}/secrets/orders-blue/{self.version}",
            "VaultName": "kv-orders",
            "ObjectType": "Secret",
            "ObjectName": "orders-blue",
            "Version": self.version,
            "NBF": None,
            "EXP": 1830000000,
        }

    def cloud_event(self, **changes: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": "c-1",
            "source": SOURCE,
            "subject": "orders-blue",
            "type": NEAR,
            "time": "2026-11-24T02:55:00.1234567Z",
            "data": self.data,
            **changes,
        }

    def grid_event(self, **changes: Any) -> dict[str, Any]:
        return {
            "id": "g-1",
            "topic": SOURCE,
            "subject": "orders-blue",
            "eventType": NEAR,
            "eventTime": "2026-11-24T02:55:00.1234567Z",
            "data": self.data,
            "dataVersion": "1",
            "metadataVersion": "1",
            **changes,
        }

    def receive(self, body: dict[str, Any]) -> None:
        """Hands one event over as the platform's worker does, on the wire's JSON."""
        datum = meta.Datum(json.dumps(body), "json")
        event = EventGridEventInConverter.decode(datum, trigger_metadata={})
        asyncio.run(self._function(event=event, client=self.app.client))

    @property
    def asked(self) -> list[Any]:
        """The requests for a rotation."""
        known = self.app.client.instances
        return [known[CREDENTIAL].input_] if CREDENTIAL in known else []


def test_a_cloud_event_asks_for_the_same_rotation_as_event_grids_own() -> None:
    cloud, grid = Receiver(), Receiver()
    cloud.receive(cloud.cloud_event())
    grid.receive(grid.grid_event())
    assert cloud.asked == grid.asked
    [request] = cloud.asked
    assert (request["origin"], request["version"]) == ("near-expiry", cloud.version)


def test_one_that_comes_in_both_schemas_is_one_rotation(caplog: pytest.LogCaptureFixture) -> None:
    both = Receiver()
    with caplog.at_level(logging.INFO, "rotation"):
        both.receive(both.grid_event())
        both.receive(both.cloud_event())
    assert ('"event.started"' in caplog.text, '"event.duplicate"' in caplog.text) == (True, True)
    assert len(both.asked) == 1


@pytest.mark.parametrize(
    ("changes", "result"),
    [
        ({"type": "Microsoft.KeyVault.SecretNewVersionCreated"}, "ignored"),
        ({"type": None}, "ignored"),
        ({"data": None}, "ignored"),
        ({"data": "text"}, "ignored"),
        ({"data": None, "data_base64": "e30="}, "ignored"),
        ({"data": {"ObjectName": "orders-blue"}}, "ignored"),
        ({"datacontenttype": "text/xml", "dataschema": "#1", "traceparent": "00-1"}, "started"),
        ({"time": None, "subject": None, "source": None}, "started"),
        ({"id": None}, "started"),
    ],
)
def test_every_cloud_event_is_accounted_for(
    changes: dict[str, Any], result: str, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver()
    with caplog.at_level(logging.INFO, "rotation"):
        receiver.receive(receiver.cloud_event(**changes))
    assert f'"event.{result}"' in caplog.text
    assert len(receiver.asked) == (result == "started")


def test_a_version_that_is_not_current_starts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    receiver = Receiver()
    data = {**receiver.data, "Version": "0" * 32}
    with caplog.at_level(logging.INFO, "rotation"):
        receiver.receive(receiver.cloud_event(data=data))
    assert '"event.stale"' in caplog.text
    assert receiver.asked == []


RECEIVER = Receiver()
# The library's own attributes have these names: an extension attribute may be called anything else.
EXTENSIONS = st.dictionaries(st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True), JSON, max_size=3)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(kind=JSON, data=JSON, more=EXTENSIONS)
def test_no_cloud_event_makes_it_fail(kind: Any, data: Any, more: dict[str, Any]) -> None:
    known = RECEIVER.cloud_event(type=kind, data=data)
    RECEIVER.receive({**{key: more[key] for key in more if key not in known}, **known})
    assert RECEIVER.asked == []
