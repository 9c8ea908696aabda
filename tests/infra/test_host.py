"""host.json, and the settings for a local host. What is deployed is in test_package.py."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rotation.story.version import VERSION
from tests.infra.bicep import Bicep, text

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
APP = text(Bicep(INFRA / "modules/app.bicep").root)


def load(path: str) -> Any:
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def durable(host: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = host["extensions"]["durableTask"]
    return found


def test_the_scheduler_finds_the_connection_that_bicep_sets() -> None:
    provider = durable(load("host.json"))["storageProvider"]
    assert provider["type"] == "azureManaged"
    assert f"  {provider['connectionStringName']}: " in text(
        Bicep(INFRA / "modules/app.bicep").root
    )


def test_the_task_hub_is_the_one_that_bicep_names() -> None:
    (name,) = re.fullmatch(r"%(\w+)%", durable(load("host.json"))["hubName"]).groups()  # type: ignore[union-attr]  # an assertion as well
    assert f"  {name}: taskHub\n" in APP
    assert name in load("local.settings.example.json")["Values"]


def test_both_back_ends_differ_in_nothing_else() -> None:
    scheduler, storage = load("host.json"), load("infra/host/azureStorage.json")
    assert durable(storage)["storageProvider"].pop("type") == "AzureStorage"
    durable(scheduler).pop("storageProvider")
    durable(storage).pop("storageProvider")
    assert storage == scheduler


@pytest.mark.parametrize("file", ["host.json", "infra/host/azureStorage.json"])
def test_instances_are_started_with_the_version_of_the_story(file: str) -> None:
    assert durable(load(file))["defaultVersion"] == VERSION


def test_azure_storage_is_polled_at_least_every_ten_seconds() -> None:
    """Longer, and Flex Consumption may take the instance away between two polls."""
    interval = durable(load("infra/host/azureStorage.json"))["storageProvider"][
        "maxQueuePollingInterval"
    ]
    hours, minutes, seconds = map(int, interval.split(":"))
    assert 0 < hours * 3600 + minutes * 60 + seconds <= 10


def test_threads_are_enough_for_what_the_host_hands_out_at_once() -> None:
    host = durable(load("host.json"))
    threads = re.search(r"PYTHON_THREADPOOL_THREAD_COUNT: '(\d+)'", APP)
    assert threads is not None
    at_once = host["maxConcurrentActivityFunctions"] + host["maxConcurrentOrchestratorFunctions"]
    assert int(threads[1]) > at_once
    assert (
        load("local.settings.example.json")["Values"]["PYTHON_THREADPOOL_THREAD_COUNT"]
        == threads[1]
    )


def test_the_bundle_has_the_scheduler() -> None:
    """`azureManaged` came with 4.32.0."""
    low = re.match(r"\[(\d+)\.(\d+)\.", load("host.json")["extensionBundle"]["version"])
    assert low is not None
    assert (int(low[1]), int(low[2])) >= (4, 32)


def test_nothing_that_crosses_an_orchestration_is_traced() -> None:
    assert durable(load("host.json"))["tracing"]["traceInputsAndOutputs"] is False


def test_routes_have_the_prefix_that_links_and_bicep_expect() -> None:
    assert load("host.json")["extensions"].get("http", {}).get("routePrefix", "api") == "api"


def test_a_local_host_runs_on_the_storage_emulator() -> None:
    values = load("local.settings.example.json")["Values"]
    prefix = "AzureFunctionsJobHost__extensions__durableTask__storageProvider__"
    assert values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    assert values[f"{prefix}type"] == "AzureStorage"
    assert values[f"{prefix}connectionStringName"] == "AzureWebJobsStorage"
    assert [key for key, value in values.items() if not isinstance(value, str)] == []


def test_a_local_host_runs_on_the_scheduler_emulator() -> None:
    """host.json has the back end already: the settings only say where it is, and without keys."""
    values = load("local.settings.scheduler.example.json")["Values"]
    name = durable(load("host.json"))["storageProvider"]["connectionStringName"]
    assert values[name] == "Endpoint=http://localhost:8080;Authentication=None"
    assert values["AzureWebJobsStorage"] == "UseDevelopmentStorage=true"
    assert [key for key in values if key.startswith("AzureFunctionsJobHost__")] == []
    assert values.keys() - {name} <= load("local.settings.example.json")["Values"].keys()


def test_what_a_killed_host_worked_on_is_taken_up_after_a_minute() -> None:
    """The least that Azure Storage's back end takes; five minutes are its own default."""
    provider = durable(load("infra/host/azureStorage.json"))["storageProvider"]
    for queue in ("controlQueue", "workItemQueue"):
        assert provider[f"{queue}VisibilityTimeout"] == "00:01:00"


def test_azd_finds_the_template_and_the_app() -> None:
    project = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
    assert (ROOT / project["infra"]["path"] / f"{project['infra']['module']}.bicep").exists()
    (service,) = project["services"]
    assert f"'azd-service-name': '{service}'" in APP
