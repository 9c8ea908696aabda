"""Events with strange keys and values, in both schemas: each is accounted for once, none fails.

They go the way of the platform's: the JSON of one event, decoded by the library, to the trigger.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
from azure.functions import meta
from azure.functions.eventgrid import EventGridEventInConverter

from tests.unit.test_cloud_events import NEAR, Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 2000  # characters of a line in the log: it takes what somebody wrote
SCHEMAS = ("grid", "cloud")
KEYS = {
    "grid": {"kind": "eventType", "source": "topic", "time": "eventTime"},
    "cloud": {"kind": "type", "source": "source", "time": "time"},
}
Data = dict[str, Any]


def nested(levels: int) -> Any:
    found: Any = "end"
    for level in range(levels):
        found = [found] if level % 2 else {"in": found}
    return found


def other(data: Data, **changes: Any) -> Data:
    """The data with other values; None in the place of one takes its key away."""
    found = {**data, **changes}
    return {key: value for key, value in found.items() if value != "gone"}


# What is done to the data of an event that would start a rotation, and what becomes of it.
DATA: dict[str, tuple[Callable[[Data], Any], str]] = {
    "keys in capitals": (lambda data: {key.upper(): data[key] for key in data}, "started"),
    "keys with spaces": (lambda data: {f"\t{key} ": data[key] for key in data}, "started"),
    "values with spaces": (lambda data: other(data, Version=f" {data['Version']}\r\n"), "started"),
    "a name in capitals": (lambda data: other(data, ObjectName="ORDERS-BLUE"), "started"),
    "times as text": (lambda data: other(data, NBF="1559081980", EXP="1830000000"), "started"),
    "times as fractions": (lambda data: other(data, NBF=1.5, EXP=1e300), "started"),
    "times that are none": (lambda data: other(data, NBF=[], EXP={"at": None}), "started"),
    "keys that are new": (lambda data: other(data, Tags={"a": [1]}, **{"": 0}), "started"),
    "a key of 10 000 characters": (lambda data: other(data, **{"k" * 10_000: "v"}), "started"),
    "200 levels": (lambda data: other(data, more=nested(200)), "started"),
    "no vault's name": (lambda data: other(data, VaultName="gone"), "started"),
    "another vault's name": (lambda data: other(data, VaultName="kv-theirs"), "started"),
    "another type of object": (lambda data: other(data, ObjectType="Certificate"), "started"),
    "another vault in its Id": (
        lambda data: other(data, Id=data["Id"].replace("kv-orders", "kv-theirs")),
        "foreign",
    ),
    "a vault of another cloud": (
        lambda data: other(data, Id=data["Id"].replace("azure.net", "azure.cn")),
        "foreign",
    ),
    "a managed HSM": (
        lambda data: other(data, Id=data["Id"].replace("vault.azure", "managedhsm.azure")),
        "foreign",
    ),
    "a user in its Id": (
        lambda data: other(data, Id=data["Id"].replace("https://", "https://kv-theirs@")),
        "started",
    ),
    "a name that no secret of ours has": (
        lambda data: other(data, ObjectName="orders-red"),
        "foreign",
    ),
    "a secret of the standby": (lambda data: other(data, ObjectName="orders-green"), "stale"),
    "a version in capitals": (
        lambda data: other(data, Version=f"{data['Version'].upper()}A"),
        "stale",
    ),
    "keys that differ in case": (lambda data: {**data, "VERSION": "0" * 32}, "stale"),
    "no Id": (lambda data: other(data, Id="gone"), "ignored"),
    "an Id without a scheme": (lambda data: other(data, Id=data["Id"][8:]), "ignored"),
    "an Id that is no text": (lambda data: other(data, Id=7), "ignored"),
    "an Id with a port that is none": (
        lambda data: other(data, Id="https://kv-orders.vault.azure.net:99999/secrets/x/1"),
        "ignored",
    ),
    "a version that is a number": (lambda data: other(data, Version=7), "ignored"),
    "a version of 10 000 characters": (lambda data: other(data, Version="a" * 10_000), "ignored"),
    "a version with a path": (lambda data: other(data, Version="../../keys/k"), "ignored"),
    "a name in other letters": (lambda data: other(data, ObjectName="\u043erders-blue"), "ignored"),
    "a name with a line break": (lambda data: other(data, ObjectName="orders\n-blue"), "ignored"),
    "a name that is a list": (lambda data: other(data, ObjectName=["orders-blue"]), "ignored"),
    "nothing": (lambda _: None, "ignored"),
    "an empty object": (lambda _: {}, "ignored"),
    "a list of two": (lambda data: [data, data], "ignored"),
    "the data as text": (json.dumps, "ignored"),
    "the data within data": (lambda data: {"data": data}, "ignored"),
    "a number": (lambda _: 0, "ignored"),
    "true": (lambda _: True, "ignored"),
}
KINDS: list[Any] = [
    *("Microsoft.KeyVault.SecretNewVersionCreated", "Microsoft.KeyVault.KeyNearExpiry"),
    *("Microsoft.KeyVault.CertificateNearExpiry", "Microsoft.KeyVault.VaultAccessPolicyChanged"),
    *("Microsoft.EventGrid.SubscriptionValidationEvent", "Microsoft.Storage.BlobCreated"),
    *(NEAR.lower(), f"{NEAR} ", f" {NEAR}", f"{NEAR}\n", "", "x" * 10_000),
    *(None, 7, True, [NEAR], {"type": NEAR}),
]
ENVELOPES: dict[str, tuple[Data, str]] = {
    "no id": ({"id": None}, "started"),
    "an id that is a number": ({"id": 7}, "started"),
    "an id that is a list": ({"id": ["x"] * 2000}, "started"),
    "an id of 10 000 characters": ({"id": "i" * 10_000}, "started"),
    "an id with line breaks": ({"id": 'a\r\n{"event": "forged"}\x1b[2J'}, "started"),
    "an empty subject": ({"subject": ""}, "started"),
    "another subject": ({"subject": "orders-red"}, "started"),
    "a subject of 100 000 characters": ({"subject": "s" * 100_000}, "started"),
    "a subject that is an object": ({"subject": {"a": 1}}, "started"),
    "no source": ({"source": None}, "started"),
    "another vault's source": ({"source": "/subscriptions/x/vaults/kv-theirs"}, "started"),
    "no time": ({"time": None}, "started"),
    "keys that are new": ({"region": "westeurope", "deliverycount": 3}, "started"),
    "versions as numbers": ({"dataVersion": 2, "metadataVersion": 1.5}, "started"),
}


class Wire(Receiver):
    """The receiver, at the JSON of either schema."""

    def __init__(self, schema: str) -> None:
        super().__init__()
        self._schema = schema

    def body(self, **changes: Any) -> Data:
        names = KEYS[self._schema]
        made = self.grid_event if self._schema == "grid" else self.cloud_event
        return made(**{names.get(key, key): value for key, value in changes.items()})

    def take(self, text: str) -> None:
        event = EventGridEventInConverter.decode(meta.Datum(text, "json"), trigger_metadata={})
        asyncio.run(self._function(event=event, client=self.app.client))


def accounted(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record.getMessage() for record in caplog.records if record.name == "rotation"]
    assert all(len(line) <= LONGEST and "\n" not in line for line in lines), lines
    events = [json.loads(line) for line in lines]
    return [line["event"].removeprefix("event.") for line in events if "eventId" in line]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", DATA)
def test_strange_data(schema: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(schema)
    change, result = DATA[name]
    with caplog.at_level(logging.INFO, "rotation"):
        wire.take(json.dumps(wire.body(data=change(wire.data))))
    assert accounted(caplog) == [result]
    assert len(wire.asked) == (result == "started")


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("kind", KINDS, ids=range(len(KINDS)))
def test_strange_types(schema: str, kind: Any, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(schema)
    with caplog.at_level(logging.INFO, "rotation"):
        wire.take(json.dumps(wire.body(kind=kind)))
    assert accounted(caplog) == ["ignored"]
    assert wire.asked == []


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("name", ENVELOPES)
def test_strange_envelopes(schema: str, name: str, caplog: pytest.LogCaptureFixture) -> None:
    wire = Wire(schema)
    changes, result = ENVELOPES[name]
    with caplog.at_level(logging.INFO, "rotation"):
        wire.take(json.dumps(wire.body(**changes)))
    assert accounted(caplog) == [result]
    [request] = wire.asked
    assert (request["secret"], request["version"]) == ("orders-blue", wire.version)


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_key_that_stands_twice_counts_as_its_last(
    schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(schema)
    right = f'"Version": "{wire.version}"'
    text = json.dumps(wire.body())
    assert text.count(right) == 1
    with caplog.at_level(logging.INFO, "rotation"):
        wire.take(text.replace(right, f'{right}, "Version": "{"0" * 32}"'))
        wire.take(text.replace(right, f'"Version": "{"0" * 32}", {right}'))
    assert accounted(caplog) == ["stale", "started"]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_same_event_under_many_ids_is_one_rotation(
    schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    wire = Wire(schema)
    with caplog.at_level(logging.INFO, "rotation"):
        for number in range(5):
            wire.take(json.dumps(wire.body(id=f"e-{number}", subject="x" * number)))
    assert accounted(caplog) == ["started", *["duplicate"] * 4]
    assert len(wire.asked) == 1
