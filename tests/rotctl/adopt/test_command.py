"""`rotctl adopt` as it is typed: from files, with questions at a terminal and none elsewhere."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from rotation.config import check
from rotctl.__main__ import main
from rotctl.adopt.asking import Answers, Facts
from rotctl.adopt.deciding import decide
from rotctl.exits import Exit
from tests.rotctl.adopt.shapes import FOLDER, IDENTITY, SERVER, shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
