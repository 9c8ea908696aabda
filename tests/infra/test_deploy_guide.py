"""The guide names what there is: parameters, outputs, files, and keys of host.json."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.infra import parameters
from tests.infra.bicep import Bicep, literal, text, walk

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
MAIN = Bicep(ROOT / "infra/main.bicep")


def section(heading: str) -> str:
    """What stands below a heading, up to the next heading of any level."""
    return GUIDE.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]


def table(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    lines = re.findall(r"^\| (.+) \|$", section(heading), re.MULTILINE)
    return [line.split(" | ") for line in lines[1:]]


def rows(heading: str) -> dict[str, str]:
    """First and second cell of the table below a heading."""
    found = re.findall(r"^\| `([^`]+)` \| ([^|]*?) ?\|", section(heading), re.MULTILINE)
    return dict(found)


def test_the_table_of_parameters_is_what_the_templates_say() -> None:
    """`python -m tests.infra.parameters` writes it anew."""
    assert parameters.written(GUIDE) == GUIDE
    assert rows("### 2. Parameters").keys() >= MAIN.parameters.keys()


def test_each_description_says_whether_the_parameter_is_required() -> None:
    wrong = [
        f"{path.name}: {item.name}"
        for path in sorted((ROOT / "infra").rglob("*.bicep"))
        for item in Bicep(path).parameters.values()
        if parameters.description(item.decorators)[0]
        != ("Required" if item.required else "Optional")
    ]
    assert wrong == []


def test_variables_are_outputs() -> None:
    used = set(re.findall(r"\$([A-Z]{3,}[A-Z_]*)", GUIDE)) | set(
        re.findall(r"`([A-Z]+_ADDRESS)`", GUIDE)
    )
    assert used - MAIN.outputs.keys() == {"ADMIN", "PGPASSWORD"} - {"PGPASSWORD"}


PATHS = sorted(set(re.findall(r"(?:tests/)?(?:infra|docs)/[\w/.-]+\w", GUIDE)))


@pytest.mark.parametrize("path", PATHS)
def test_files_are_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_links_lead_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in headings}
    linked = re.findall(r"\]\(([^)]+)\)", GUIDE)
    assert [link for link in linked if link.startswith("#") and link[1:] not in anchors] == []
    files = [link for link in linked if not link.startswith(("#", "http"))]
    assert [link for link in files if not (ROOT / "docs" / link.partition("#")[0]).exists()] == []


def test_keys_of_host_json_are_explained_with_their_values() -> None:
    host = json.loads((ROOT / "host.json").read_text(encoding="utf-8"))
    durable = host["extensions"]["durableTask"]
    written = GUIDE.split("### host.json\n", 1)[1].split("\n### ", 1)[0]
    values = {key: host[key] for key in ("functionTimeout", "telemetryMode")}
    values |= {key: durable[key] for key in durable if not isinstance(durable[key], dict)}
    assert [key for key, value in values.items() if f"{key}: {value}" not in written] == []
    assert f"extensionBundle: {host['extensionBundle']['version']}" in written


def test_alerts_and_subscriptions_have_the_names_that_the_guide_deletes() -> None:
    names = {
        literal(node)
        for path in (ROOT / "infra/modules").glob("*.bicep")
        for node in walk(Bicep(path).root)
        if node.type == "string"
    }
    assert "rotation-event-lost-${vaultName}-${functionAppName}" in names
    assert "rotation-event-lost-kv-orders-$FUNCTION_APP_NAME" in GUIDE
    assert "Credential rotation" in text(Bicep(ROOT / "infra/modules/vaultGrants.bicep").root)
