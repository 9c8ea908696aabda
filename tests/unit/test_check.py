"""What `check` says of a file or a folder: places, forms, files that are named, and the schema."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rotation import config
from rotation.config import kept, parse
from rotation.config.check import FORMATS, Finding, check, report
from rotation.model.errors import ConfigurationError
from tests.unit.test_config import (
    CREDENTIAL,
    EXAMPLE,
    GOOD,
    NAMED,
    TEST,
    VALID,
    WORKLOAD,
    changed,
    problems,
)

SCHEMA = json.loads(
    Path(config.__file__).with_name("credentials.schema.json").read_text(encoding="utf-8")
)


def written(folder: Path, file: object, name: str = "credentials.yaml") -> str:
    path = folder / name
    path.parent.mkdir(exist_ok=True, parents=True)
    text = file if isinstance(file, str) else yaml.safe_dump(file, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return str(path)


def said(source: str) -> list[str]:
    return [f"{one.path}: {one.text}" for one in check(source).errors]


def test_a_problem_names_its_workload_and_its_line(tmp_path: Path) -> None:
    second = {
        **VALID["credentials"]["orders-db"]["workloads"][0],
        "name": "web",
        "namespace": "shop",
        "ready": "soon",
    }
    file = written(tmp_path, changed((f"{CREDENTIAL}.workloads.1", second)))
    (found,) = check(file).errors
    line = Path(file).read_text(encoding="utf-8").splitlines().index("      ready: soon") + 1
    assert found == Finding(
        "error",
        file,
        line,
        f"{CREDENTIAL}.workloads.web.ready",
        "'soon' is not a duration: write for example 90d, 24h or 1m30s",
    )


def test_workloads_of_one_name_are_told_apart_by_number(tmp_path: Path) -> None:
    twin = VALID["credentials"]["orders-db"]["workloads"][0]
    file = written(tmp_path, changed((f"{CREDENTIAL}.workloads.1", twin)))
    assert f"{CREDENTIAL}.workloads.1.name: is the same as {WORKLOAD}.name" in said(file)


def test_warnings_have_their_place_too(tmp_path: Path) -> None:
    file = written(tmp_path, VALID)
    checked = check(file)
    (warned,) = checked.findings
    assert checked.valid
    assert (warned.severity, warned.path) == ("warning", f"{CREDENTIAL}.approval.approvers")
    assert warned.line == 5  # the credential's, which has no `approval`


def test_each_form_has_the_place_and_the_severity(tmp_path: Path) -> None:
    file = written(tmp_path, changed((f"{CREDENTIAL}.vault", "kv%,\n:x")))
    checked = check(file)
    texts = {form: report(checked, form) for form in FORMATS}
    (error,) = checked.errors
    assert texts["line"][0].startswith(f"{file}:6: error: {CREDENTIAL}.vault: 'kv%,")
    assert texts["github"][0].startswith(f"::error file={file},line=6::{CREDENTIAL}.vault: 'kv%25,")
    assert texts["github"][0].count("\n") == 1
    document = json.loads(texts["json"][0])
    assert document["valid"] is False
    assert document["findings"] == [vars(error)]
    out, err = texts["text"]
    assert out == ""
    assert err.splitlines()[0] == f"configuration-invalid: {file} has 1 problem(s):"
    assert err.splitlines()[1].endswith("(line 6)")


@pytest.mark.parametrize("form", FORMATS)
def test_text_that_is_no_yaml_is_a_finding_with_its_line(tmp_path: Path, form: Any) -> None:
    checked = check(written(tmp_path, "clusters: {}\ncredentials: [\n"))
    (found,) = checked.errors
    assert (found.line, found.path) == (3, "")
    assert "it is not valid YAML" in "".join(report(checked, form))


# -- what people write, and mean otherwise


@pytest.mark.parametrize(
    ("path", "value", "proposed"),
    [
        (f"{TEST}.expect", {"role": "x"}, "json"),
        (f"{CREDENTIAL}.rotate_before", "9d", "rotateBefore"),
        (f"{WORKLOAD}.selector_label", "slot", "selectorLabel"),
        ("clusters.aks.certificate_authority", "x", "certificateAuthority"),
    ],
)
def test_what_the_code_calls_a_key_is_refused_with_the_files_word(
    path: str, value: Any, proposed: str
) -> None:
    (found,) = problems(changed((path, value)))
    assert found == f"{path}: there is no such key here; is it `{proposed}`?"


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        ("role: '{role}'", "role: {role}", f"{NAMED}.tests.0.json.role"),
        ("path: /whoami", "path: {slot}", f"{NAMED}.tests.0.path"),
        ("namespace: orders", "namespace: {role}", f"{NAMED}.namespace"),
    ],
)
def test_a_placeholder_without_quotes_is_to_be_quoted(
    tmp_path: Path, old: str, new: str, path: str
) -> None:
    text = yaml.safe_dump(VALID, sort_keys=False)
    assert text.count(old) == 1
    assert said(written(tmp_path, text.replace(old, new))) == [f"{path}: {config.BRACES}"]


def test_a_text_that_begins_with_a_placeholder_is_to_be_quoted(tmp_path: Path) -> None:
    text = yaml.safe_dump(VALID, sort_keys=False).replace("path: /whoami", "url: {slot}.example")
    (found,) = said(written(tmp_path, text))
    assert found.endswith("; quote a text with {slot} in it")


def test_a_field_that_must_be_null_is_no_placeholder() -> None:
    parse(yaml.safe_dump(changed((f"{TEST}.json", {"role": None}))))


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"remind": "25h", "deadline": "1d"}, "remind: '25h' is longer than `deadline`, '1d'"),
        ({"remind": "8d"}, "remind: '8d' is longer than `deadline`, '7d'"),
        ({"approvers": ["Ada Lovelace"]}, "approvers.0: 'Ada Lovelace' is neither a mail address"),
        ({"approvers": [".role"]}, "approvers.0: '.role' is neither a mail address"),
        (
            {"approvers": ["x@y.example", "6f1d0c54-3c70-4a8e-9d3e-2b1f0a7c9e1"]},
            "approvers.1: '6f1d0c54-3c70-4a8e-9d3e-2b1f0a7c9e1' is like an object id, and none",
        ),
    ],
)
def test_rules_of_approval_that_come_to_nothing_are_refused(
    rules: dict[str, Any], problem: str
) -> None:
    (found,) = problems(changed((f"{CREDENTIAL}.approval", rules)))
    assert found.startswith(f"{CREDENTIAL}.approval.{problem}")


@pytest.mark.parametrize(
    "rules",
    [
        {"remind": "7d"},
        {"deadline": "4h"},  # shorter than what reminders are by default
        {"approvers": ["Rotation.Approve", "6F1D0C54-3C70-4A8E-9D3E-2B1F0A7C9E11", "a@b"]},
    ],
)
def test_rules_of_approval_that_are_meant_are_taken(rules: dict[str, Any]) -> None:
    parse(yaml.safe_dump(changed((f"{CREDENTIAL}.approval", rules))))


def test_a_rotation_goes_on_by_rules_that_a_file_is_refused_for() -> None:
    """It was planned by an earlier release, which took them."""
    taken = parse(yaml.safe_dump(changed((f"{CREDENTIAL}.approval", {"approvers": ["Ada"]}))))
    approver = taken.credential("orders-db").approval.listed[0]
    rules = taken.credential("orders-db").approval.model_copy(
        update={"listed": [approver.model_copy(update={"id": "Ada Lovelace"})]}
    )
    credential = taken.credential("orders-db").model_copy(update={"approval": rules})
    old = taken.model_copy(update={"credentials": {"orders-db": credential}})
    assert kept.read(kept.keep(old, "orders-db")).credential("orders-db").approval == rules


# -- anchors, and a folder


def test_keys_at_the_top_may_hold_anchors(tmp_path: Path) -> None:
    text = "x-tests: &tests\n  - {path: /whoami, json: {role: '{role}'}}\n"
    body = yaml.safe_dump(VALID, sort_keys=False)
    start = body.index("      tests:")
    file = written(tmp_path, text + body[:start] + "      tests: *tests\n")
    assert said(file) == []
    assert config.load(file).credential("orders-db").workloads[0].tests[0].path == "/whoami"
    assert said(written(tmp_path, "x: {}\n" + body)) == ["x: there is no such key here"]


def second() -> dict[str, Any]:
    """Another team's credential, on the same cluster."""
    text = yaml.safe_dump(VALID["credentials"]["orders-db"])
    return yaml.safe_load(text.replace("orders", "bills").replace("api", "bills"))  # type: ignore[no-any-return]


def folder(path: Path, **files: object) -> str:
    for name, content in files.items():
        written(path / "credentials", content, f"{name}.yaml")
    return str(path / "credentials")


TEAMS = {
    "clusters": {"clusters": VALID["clusters"]},
    "orders": {"credentials": VALID["credentials"]},
}


def test_a_folder_is_one_configuration(tmp_path: Path) -> None:
    source = folder(tmp_path, **TEAMS, bills={"credentials": {"bills-db": second()}})
    (tmp_path / "credentials" / "README.md").write_text("Who owns what.")
    assert said(source) == []
    assert sorted(config.load(source).credentials) == ["bills-db", "orders-db"]


def test_what_two_files_of_a_folder_have_is_refused_and_both_are_named(tmp_path: Path) -> None:
    source = folder(
        tmp_path,
        **TEAMS,
        bills={"clusters": VALID["clusters"], "credentials": {"orders-db": second()}},
    )
    with pytest.raises(ConfigurationError) as caught:
        config.load(source)
    assert caught.value.problems == [
        "clusters.aks: is in bills.yaml too (line 2): keep it in one file (clusters.yaml, line 2)",
        f"{CREDENTIAL}: is in bills.yaml too (line 5): keep it in one file (orders.yaml, line 2)",
    ]


def test_a_problem_names_its_file_of_a_folder(tmp_path: Path) -> None:
    bills = second() | {"validity": "1d"}
    source = folder(tmp_path, **TEAMS, bills={"credentials": {"bills-db": bills}})
    (found,) = check(source).errors
    assert found.file == str(tmp_path / "credentials" / "bills.yaml")
    assert Path(found.file).read_text(encoding="utf-8").splitlines()[found.line - 1].strip() == (
        "validity: 1d"
    )
    with pytest.raises(ConfigurationError) as caught:
        config.load(source)
    assert caught.value.problems[0].endswith(f"(bills.yaml, line {found.line})")


def test_what_credentials_share_is_found_across_files(tmp_path: Path) -> None:
    bills = second() | {"slots": VALID["credentials"]["orders-db"]["slots"]}
    source = folder(tmp_path, **TEAMS, bills={"credentials": {"bills-db": bills}})
    assert (
        f"{CREDENTIAL}.slots.blue.secret: is the same as credentials.bills-db.slots.blue.secret"
        in (said(source))
    )


def test_a_file_of_a_folder_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path, **TEAMS, bills="credentials: [\n")
    (found,) = check(source).errors
    assert (found.file, found.line) == (str(tmp_path / "credentials" / "bills.yaml"), 2)
    with pytest.raises(ConfigurationError, match=r"bills\.yaml: it is not valid YAML"):
        config.load(source)
    Path(found.file).write_text("[]")
    assert said(source) == [": bills.yaml: the file must be a mapping of clusters and credentials"]


def test_an_empty_folder_is_no_configuration(tmp_path: Path) -> None:
    assert said(str(tmp_path)) == [": the folder has no file whose name ends in .yaml or .yml"]


@settings(max_examples=20)  # there are no more than 64
@given(st.permutations(["a", "b", "c", "d"]), st.integers(1, 4))
def test_however_it_is_spread_over_files_it_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], most: int
) -> None:
    """Each file has a credential, and some have the cluster's too; one of them does for sure."""
    files: dict[str, object] = {}
    for number, name in enumerate(names[:most]):
        text = yaml.safe_dump(VALID["credentials"]["orders-db"])
        one = yaml.safe_load(text.replace("orders", f"{name}{name}").replace("api", name * 2))
        files[name] = {"credentials": {f"{name}-db": one}}
        if number == 0:
            files[name] = {"clusters": VALID["clusters"], "credentials": {f"{name}-db": one}}
    source = folder(tmp_path_factory.mktemp("spread"), **files)
    together: dict[str, Any] = {"clusters": VALID["clusters"], "credentials": {}}
    for content in files.values():
        together["credentials"] |= content["credentials"]  # type: ignore[index]
    assert config.load(source) == parse(yaml.safe_dump(together))


# -- the files that it names


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    from local.tls import Authority  # noqa: PLC0415 - makes a key: not for every test here

    return Authority(tmp_path_factory.mktemp("tls")).bundle.read_text()


KUBECONFIG = {"contexts": [{"name": "here"}], "current-context": "here"}


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        (f"{CREDENTIAL}.database.sslrootcert", "ca.pem", "cannot read 'ca.pem' in {}: No such"),
        (f"{CREDENTIAL}.database.sslrootcert", "text.pem", "the file 'text.pem' is not PEM text"),
        (f"{CREDENTIAL}.database.sslrootcert", "key.pem", "the file 'key.pem' has a private key"),
        ("clusters.aks.certificateAuthority", "-----BEGIN x", "it is not PEM text"),
        ("clusters.aks", {"kubeconfig": "none"}, "cannot read 'none' in {}: No such file"),
        ("clusters.aks", {"kubeconfig": "text.pem"}, "'text.pem' is no kubeconfig"),
        (
            "clusters.aks",
            {"kubeconfig": "config", "context": "there"},
            "'config' has no context 'there'; there are: here",
        ),
    ],
)
def test_a_file_that_the_app_could_not_use_is_refused(
    tmp_path: Path, path: str, value: Any, problem: str
) -> None:
    written(tmp_path, KUBECONFIG, "config")
    written(tmp_path, "hello", "text.pem")
    written(tmp_path, "-----BEGIN PRIVATE KEY-----", "key.pem")
    file = written(tmp_path, changed((path, value)))
    (found,) = said(file)
    assert problem.format(tmp_path) in found
    assert check(file, files=False).errors == []


def test_files_that_the_app_can_use_are_taken(tmp_path: Path, authority: str) -> None:
    """From the app's root, which has its host.json, wherever below it the configuration is."""
    written(tmp_path, KUBECONFIG, "kubeconfig/edge")
    written(tmp_path, authority, "certificates/ca.pem")
    file = written(
        tmp_path / "config",
        changed(
            (f"{CREDENTIAL}.database.sslrootcert", "certificates/ca.pem"),
            ("clusters.edge", {"kubeconfig": "kubeconfig/edge"}),
            ("clusters.aks.certificateAuthority", authority),
        ),
    )
    assert len(said(file)) == 2
    written(tmp_path, "{}", "host.json")
    assert said(file) == []


def test_a_kubeconfig_is_never_quoted(tmp_path: Path) -> None:
    written(tmp_path, {"users": [{"user": {"token": "hunter2"}}]}, "config")
    (found,) = said(written(tmp_path, changed(("clusters.aks", {"kubeconfig": "config"}))))
    assert "hunter2" not in found


# -- the schema


def wrong(file: object) -> list[str]:
    validator = jsonschema.Draft202012Validator(SCHEMA)
    return [error.json_path for error in validator.iter_errors(file)]


def test_the_schema_takes_the_example_which_names_it() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    first = text.splitlines()[0]
    assert first.startswith("# yaml-language-server: $schema=")
    assert (EXAMPLE.parent / first.partition("=")[2]).resolve() == Path(config.__file__).with_name(
        "credentials.schema.json"
    )
    assert wrong(yaml.safe_load(text)) == []
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, value, *_ in GOOD])
def test_the_schema_takes_what_the_app_takes(path: str, value: Any) -> None:
    assert wrong(changed((path, value))) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (f"{CREDENTIAL}.rotate_before", "9d"),
        (f"{CREDENTIAL}.validity", "soon"),
        (f"{CREDENTIAL}.format", "yaml"),
        (f"{CREDENTIAL}.slots.red", {"role": "r", "secret": "s"}),
        (f"{WORKLOAD}.namespace", "Orders"),
        (f"{WORKLOAD}.addresses", "everywhere"),
        (f"{TEST}.expect", {"role": "x"}),
        (f"{TEST}.status", 99),
        ("credentials.Orders", VALID["credentials"]["orders-db"]),
        ("y-anchors", {}),
    ],
)
def test_the_schema_underlines_what_the_app_refuses(path: str, value: Any) -> None:
    assert wrong(changed((path, value))) != []


def test_a_file_of_a_folder_may_have_a_part_of_the_whole() -> None:
    assert wrong({"clusters": VALID["clusters"]}) == []
    assert wrong({"x-tests": [1], "credentials": VALID["credentials"]}) == []


def test_the_schema_explains_keys_in_the_guides_words() -> None:
    credential = SCHEMA["$defs"]["Credential"]["properties"]
    assert credential["vault"]["description"] == (
        "URL of the Key Vault that holds both slots' secrets"
    )
    assert SCHEMA["$defs"]["Approval"]["properties"]["remind"]["default"] == "1d"
    unexplained = [
        f"{name}.{key}"
        for name, section in SCHEMA["$defs"].items()
        if name not in {"Address", "Endpoint", "Listed", "JobTest"}
        for key, value in section.get("properties", {}).items()
        if "description" not in value
    ]
    assert unexplained == ["Database.port"]  # whose name says it


# -- for all credentials of a file

PEOPLE = {
    "viewers": ["Orders.See", {"id": "6f1d0c54-3c70-4a8e-9d3e-2b1f0a7c9e11", "address": "a@b"}],
    "starters": ["Orders.Start"],
    "approvers": ["Orders.Approve"],
}


def lists(name: str, configuration: config.Configuration) -> list[list[str | None]]:
    """The ids of a credential's viewers, starters and approvers."""
    credential = configuration.credentials[name]
    found = (credential.viewers, credential.starters, credential.approval.listed)
    return [[one.id for one in each] for each in found]


def test_what_stands_at_the_top_is_for_all_that_have_none() -> None:
    own = {"viewers": ["Ledger.See"], "approval": {"approvers": [], "remind": "2h"}}
    both = {**VALID["credentials"], "ledger-db": {**second(), **own}}
    both["orders-db"] = {**both["orders-db"], "approval": {"remind": "3h"}}
    found = parse(yaml.safe_dump({**VALID, **PEOPLE, "credentials": both}))
    own_id = "6f1d0c54-3c70-4a8e-9d3e-2b1f0a7c9e11"
    assert lists("orders-db", found) == [
        ["Orders.See", own_id],
        ["Orders.Start"],
        ["Orders.Approve"],
    ]
    assert lists("ledger-db", found) == [["Ledger.See"], ["Orders.Start"], []]
    assert found.credentials["orders-db"].approval.remind == timedelta(hours=3)
    kept_with = kept.read(kept.keep(found, "orders-db"))
    assert lists("orders-db", kept_with) == lists("orders-db", found)


def test_in_a_folder_they_are_for_their_own_file(tmp_path: Path) -> None:
    teams = {
        "orders": {**PEOPLE, "credentials": VALID["credentials"]},
        "bills": {"viewers": ["Bills.See"], "credentials": {"bills-db": second()}},
    }
    source = folder(tmp_path, clusters={"clusters": VALID["clusters"]}, **teams)
    found = config.load(source)
    assert lists("orders-db", found)[1:] == [["Orders.Start"], ["Orders.Approve"]]
    assert lists("bills-db", found) == [["Bills.See"], [], []]


def test_what_is_wrong_at_the_top_is_said_once_and_there(tmp_path: Path) -> None:
    both = {**VALID["credentials"], "ledger-db": second()}
    file = {"viewers": ["Ada Lovelace"], **VALID, "credentials": both}
    (found,) = check(written(tmp_path, file)).errors
    text = (tmp_path / "credentials.yaml").read_text(encoding="utf-8").splitlines()
    assert (found.path, text[found.line - 1].strip()) == ("viewers.0", "- Ada Lovelace")
    assert "is neither a mail address, an object id nor an app role" in found.text
    source = folder(
        tmp_path,
        clusters={"clusters": VALID["clusters"], "starters": ["x@y"]},
        orders={"viewers": 7, "credentials": VALID["credentials"]},
    )
    said_of = [f"{Path(one.file).name} {one.path}: {one.text}" for one in check(source).errors]
    assert said_of == [
        "clusters.yaml starters: is for all credentials of its file, which has none",
        "orders.yaml viewers: must be a list, as [a, b]",
    ]


@pytest.mark.parametrize("key", ["viewers", "starters"])
def test_a_list_that_is_written_down_names_somebody(key: str, tmp_path: Path) -> None:
    (found,) = said(written(tmp_path, changed((f"{CREDENTIAL}.{key}", []))))
    assert found.startswith(f"{CREDENTIAL}.{key}: names nobody")


def test_an_address_has_one_object_id_in_all_lists(tmp_path: Path) -> None:
    one, other = (f"{n}0000000-0000-4000-8000-000000000000" for n in (1, 2))
    both = changed(
        (f"{CREDENTIAL}.starters", [{"id": one, "address": "a@b"}]),
        (f"{CREDENTIAL}.approval", {"approvers": [{"id": other, "address": "A@B"}]}),
    )
    assert any("stands there with two ids" in each for each in said(written(tmp_path, both)))


def test_people_whom_nobody_can_be_are_warned_of(tmp_path: Path) -> None:
    both = {**VALID["credentials"], "ledger-db": second()}
    both["orders-db"] = {
        **both["orders-db"],
        "viewers": ["Orders.See", "a@b"],
        "starters": ["a@b"],
        "approval": {"approvers": ["x@y"]},
    }
    checked = check(written(tmp_path, {**VALID, "credentials": both}))
    warned = {one.path: one.text for one in checked.findings if one.path.count("ers")}
    assert warned.keys() == {
        f"{CREDENTIAL}.viewers.1",
        f"{CREDENTIAL}.starters",
        "credentials.ledger-db.approval.approvers",
        "credentials.ledger-db.viewers",
    }
    assert "an address alone is nobody who has signed in" in warned[f"{CREDENTIAL}.viewers.1"]
    assert "whoever may sign in sees this one" in warned["credentials.ledger-db.viewers"]


def test_the_schema_knows_what_may_stand_at_the_top() -> None:
    assert wrong({**PEOPLE, "credentials": VALID["credentials"]}) == []
    assert wrong({"viewers": "x", "credentials": VALID["credentials"]}) != []
    assert "for all credentials of this file" in SCHEMA["properties"]["viewers"]["description"]
