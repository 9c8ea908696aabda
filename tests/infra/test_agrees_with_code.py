"""Names in Bicep are the names in the code: read from the code, not repeated here."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rotation import settings
from rotation.app import build
from rotation.edges.azure import AzureEdges
from rotation.front import rotations, triggers
from rotation.model.catalogue import PREFIX, Announcement, Outcome, announcement_facts, ending
from rotation.model.errors import ConfigurationError
from tests.infra.bicep import Bicep, literal, text, walk

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
APP = Bicep(INFRA / "modules/app.bicep")
# Set by Bicep and read by the host, its extensions, the SDKs or the platform: not by our code.
PLATFORM = {
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "AZURE_CLIENT_ID",
    "AzureMonitorExporter__EnableTraceBasedLogsSampler",
    "AzureWebJobs.on_secret_event.Disabled",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "DURABLE_TASK_SCHEDULER_CONNECTION_STRING",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",
    "PYTHON_THREADPOOL_THREAD_COUNT",
    "TASKHUB_NAME",
}
# https://learn.microsoft.com/azure/azure-functions/functions-app-settings
FORBIDDEN_ON_FLEX = {
    "ENABLE_ORYX_BUILD",
    "FUNCTIONS_EXTENSION_VERSION",
    "FUNCTIONS_MAX_HTTP_CONCURRENCY",
    "FUNCTIONS_WORKER_PROCESS_COUNT",
    "FUNCTIONS_WORKER_RUNTIME",
    "FUNCTIONS_WORKER_RUNTIME_VERSION",
    "SCM_DO_BUILD_DURING_DEPLOYMENT",
    "WEBSITE_CONTENTAZUREFILECONNECTIONSTRING",
    "WEBSITE_CONTENTOVERVNET",
    "WEBSITE_CONTENTSHARE",
    "WEBSITE_DNS_SERVER",
    "WEBSITE_MAX_DYNAMIC_APPLICATION_SCALE_OUT",
    "WEBSITE_NODE_DEFAULT_VERSION",
    "WEBSITE_RUN_FROM_PACKAGE",
    "WEBSITE_SKIP_CONTENTSHARE_VALIDATION",
    "WEBSITE_VNET_ROUTE_ALL",
}


def functions() -> dict[str, list[dict[str, Any]]]:
    """The app's functions with their bindings, built as function_app.py builds them."""
    app = build(AzureEdges({}))
    return {
        item.get_function_name(): [binding.get_dict_repr() for binding in item.get_bindings()]
        for item in app.get_functions()
    }


FUNCTIONS = functions()


def app_settings() -> set[str]:
    """Every name in the variables that app.bicep joins to the app's settings."""
    found = set()
    for node, _ in APP.declarations("variable_declaration"):
        if text(node.named_children[0]).endswith("Settings"):
            found |= {
                literal(item.named_children[0])
                for item in walk(node)
                if item.type == "object_property"
            }
    return found


def code_settings() -> set[str]:
    """The settings that the code reads: in `settings.parse` and in the bindings."""
    source = (ROOT / "rotation/settings.py").read_text(encoding="utf-8")
    constants = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    read = {value for value in constants if re.fullmatch(r"ROTATION_[A-Z_]+", value)}
    bindings = json.dumps(list(FUNCTIONS.values()), default=str)
    return read | set(re.findall(r"%(\w+)%", bindings))


def test_app_settings_are_those_that_somebody_reads() -> None:
    assert app_settings() - PLATFORM - code_settings() == set()


def test_settings_that_bindings_need_are_there() -> None:
    bindings = json.dumps(list(FUNCTIONS.values()), default=str)
    assert set(re.findall(r"%(\w+)%", bindings)) - app_settings() == set()


def test_flex_consumption_allows_every_setting() -> None:
    assert app_settings() & FORBIDDEN_ON_FLEX == set()
    assert app_settings() & {"AzureWebJobsStorage", "AzureWebJobsStorage__accountKey"} == set()


def test_values_of_the_sign_in_setting_are_those_of_the_code() -> None:
    written = re.search(r"ROTATION_SIGN_IN: signIn == null \? '(\w+)' : '(\w+)'", text(APP.root))
    assert written is not None
    assert {settings.parse({"ROTATION_SIGN_IN": word}).sign_in for word in written.groups()} == {
        "links",
        "entra",
    }
    with pytest.raises(ConfigurationError):
        settings.parse({"ROTATION_SIGN_IN": "none"})


def test_events_go_to_the_function_that_takes_them() -> None:
    named = re.findall(r"/functions/(\w+)", text(Bicep(INFRA / "events.bicep").root))
    assert named == ["on_secret_event"]
    assert "eventGridTrigger" in {binding["type"] for binding in FUNCTIONS[named[0]]}


def included_types(path: Path) -> set[str]:
    block = re.search(r"includedEventTypes: \[(.*?)\]", text(Bicep(path).root), re.DOTALL)
    assert block is not None
    return set(re.findall(r"'([^']+)'", block[1]))


def test_subscribed_key_vault_events_are_those_that_the_code_knows() -> None:
    subscribed = included_types(INFRA / "modules/vaultEvents.bicep")
    data = {"Id": "https://kv.vault.azure.net/secrets/s/v", "ObjectName": "s", "Version": "v"}
    data |= {"VaultName": "kv", "ObjectType": "Secret"}
    assert {kind for kind in subscribed if isinstance(triggers.read(kind, data), str)} == set()
    assert isinstance(triggers.read("Microsoft.KeyVault.SecretNewVersionCreated", data), str)


def test_subscribed_announcements_are_those_that_the_code_makes() -> None:
    subscribed = included_types(INFRA / "events.bicep")
    assert subscribed == {PREFIX + kind for kind in Announcement if announcement_facts(kind).mailed}
    assert PREFIX + "AwaitingApproval" in subscribed


def routes() -> dict[str, set[str]]:
    """Route to the methods that it takes."""
    found: dict[str, set[str]] = {}
    for bindings in FUNCTIONS.values():
        for binding in bindings:
            if binding["type"] == "httpTrigger":
                methods = {str(getattr(item, "value", item)) for item in binding["methods"]}
                found.setdefault(str(binding["route"]), set()).update(methods)
    return found


def test_paths_without_sign_in_are_webhooks_and_health() -> None:
    excluded = re.search(r"excludedPaths: \[(.*?)\]", text(APP.root))
    assert excluded is not None
    paths = re.findall(r"'([^']+)'", excluded[1])
    assert [path for path in paths if "*" in path] == []
    webhooks = {path for path in paths if path.startswith("/runtime/")}
    assert {path.lower() for path in webhooks} == {"/runtime/webhooks/eventgrid"}
    others = set(paths) - webhooks
    assert {path.removeprefix("/api/") for path in others} - routes().keys() == set()


def test_decisions_by_mail_go_to_the_route_for_decisions() -> None:
    definition = (INFRA / "logic/approval.json").read_text(encoding="utf-8")
    uris = set(re.findall(r"\{parameters\('appUrl'\)\}/api/([^\"]+)\"", definition))
    (uri,) = {re.sub(r"@\{[^}]*\}", "{id}", uri) for uri in uris}
    assert "POST" in routes()[uri]


def test_the_function_that_takes_decisions_asks_for_a_key() -> None:
    """The workflow sends one: without it an anonymous decision would be possible."""
    (trigger,) = [item for item in FUNCTIONS["decide"] if item["type"] == "httpTrigger"]
    assert str(getattr(trigger["authLevel"], "value", trigger["authLevel"])).lower() == "function"


def test_the_role_on_secrets_has_just_the_rights_that_the_code_uses() -> None:
    """Each method of the SDK that `rotation.edges.vault` calls, and the right that it needs."""
    needs = {
        "get_secret": "getSecret",
        "list_properties_of_secret_versions": "readMetadata",
        "set_secret": "setSecret",
        "update_secret_properties": "update",
        "send_request": "setSecret",  # asked without a value: whether it would be allowed
    }
    source = (ROOT / "rotation/edges/vault.py").read_text(encoding="utf-8")
    called = set(re.findall(r"self\._client\.(\w+)\(", source))
    assert called == needs.keys()
    granted = re.findall(
        r"'Microsoft\.KeyVault/vaults/secrets/(\w+)/action'",
        text(Bicep(INFRA / "modules/vaultGrants.bicep").root),
    )
    assert sorted(granted) == sorted({needs[method] for method in called})


def test_the_outcomes_that_raise_an_alarm() -> None:
    assert {outcome: ending(outcome).alarm for outcome in Outcome if ending(outcome).alarm} == {
        "needs-attention": "now",
        "aborted": "soon",
        "rolled-back": "soon",
        "refused": "soon",
    }


def test_finished_rotations_are_kept_for_as_long_as_they_are_listed() -> None:
    scheduler = text(Bicep(INFRA / "modules/durable.bicep").root)
    kept = re.search(r"retentionPeriodInDays: (\d+)", scheduler)
    assert kept is not None
    assert int(kept[1]) == rotations.RETENTION.days
