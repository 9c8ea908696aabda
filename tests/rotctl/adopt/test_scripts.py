"""The scripts of a folder, run by bash with programs that note what they are called with."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from local.process import wait_until
from rotctl.adopt import folder, scripts, state, writing
from rotctl.adopt.running import TOOLS, Runner, Said, environment, tools
from rotctl.exits import ClientError, Exit
from tests.rotctl.adopt.shapes import Shape, by_gateway, shape, shapes_in_place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASH = shutil.which("bash") or "bash"
SHAPES = (
    *("the-guide", "an-external-secret", "a-worker", "a-cron-job", "autoscaled-and-spread"),
    *("a-stateful-set", "by-a-gateway"),
)
# Programs that answer each call with `SAYS`, and fail at the call of the number `FAILS`.
PROGRAM = """\
#!/bin/sh
number=1
until mkdir "$CALLS/$number" 2> /dev/null; do number=$((number + 1)); done
[ "$number" -ne "$FAILS" ] || { echo "Unable to connect" >&2; exit 1; }
case "$*" in
  *download*) for last; do :; done; printf hunter2-hunter2 > "$last";;
  *) [ -z "$SAYS" ] || echo "$SAYS";;
esac
"""
# Of these a part may fail: what follows proves it as well.
BEARS = {
    "apply": {
        *("entry/check", "blue/check", "first-rotation/do", "green-secret/do"),
        "git/do",  # hand-over.sh tries again
    },
    "undo": {"told/check"},
}


class Place:
    def __init__(self, at: Path, name: str) -> None:
        self.folder, self.programs, self.calls = at / "made", at / "bin", at / "calls"
        writing.write(self.folder, folder.files(_shape(name).plan()))
        (self.folder / "former").mkdir()
        (self.folder / "former" / "since").write_text("now", encoding="utf-8")
        self.programs.mkdir()
        for tool in set(TOOLS) - {"base64", "cmp"}:
            (self.programs / tool).write_text(PROGRAM, encoding="utf-8")
            (self.programs / tool).chmod(0o755)

    def run(self, script: str, says: str = "", fails: int = 0) -> tuple[int, int]:
        """The exit code, and how often a program was called."""
        shutil.rmtree(self.calls, ignore_errors=True)
        self.calls.mkdir()
        done = subprocess.run(  # noqa: S603 - a script of the folder
            [BASH, script], cwd=self.folder, capture_output=True, check=False, timeout=30,
            stdin=subprocess.DEVNULL, start_new_session=True,
            env={
                "PATH": f"{self.programs}:{os.environ['PATH']}", "CALLS": str(self.calls),
                "SAYS": says, "FAILS": str(fails),
            },
        )  # fmt: skip
        assert not {"live.value", "rotator.password"} & {
            path.name for path in self.folder.iterdir()
        }
        return done.returncode, len(list(self.calls.iterdir()))


def _shape(name: str) -> Shape:
    others = [by_gateway(), *shapes_in_place()]
    return next((one for one in others if one.name.endswith(name)), None) or shape(name)


def every(place: Place) -> Iterator[tuple[scripts.Way, str, str]]:
    found = scripts.read(place.folder)
    for way in scripts.FOLDERS:
        for step in found.steps[way]:
            for part in scripts.PARTS:
                if (place.folder / step.script(part)).exists():
                    yield way, f"{step.name}/{part}", step.script(part)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("the-guide", ("check",)),
        *(pytest.param(one, scripts.PARTS, marks=pytest.mark.long) for one in SHAPES),
    ],
)
def test_a_script_ends_at_the_first_command_that_fails(
    tmp_path: Path, name: str, parts: tuple[str, ...]
) -> None:
    """So that what cannot be asked is never taken for an answer, and no password stays."""
    place = Place(tmp_path, name)
    for way, called, script in every(place):
        for says in ("", "blue") if called.endswith(parts) else ():
            _, calls = place.run(script, says)
            for number in range(1, calls + 1):
                code, made = place.run(script, says, number)
                if any(called.endswith(one) for one in BEARS[way]):
                    continue
                assert code != 0, (script, says, number)
                # The other side of a pipe may have begun.
                assert made <= number + 1, (script, says, number)


def test_an_app_that_does_not_know_what_somebody_rotated_is_not_believed(tmp_path: Path) -> None:
    """Else a profile for another app would say that nothing is under way."""
    place = Place(tmp_path, "the-guide")
    check = "undo/01-blue-serves/check.sh"
    assert place.run(check, "blue")[0] == 0
    assert place.run(check, "credential-rotation/rotation")[0] != 0


@pytest.mark.parametrize("name", SHAPES)
def test_bash_takes_each_script(tmp_path: Path, name: str) -> None:
    place = Place(tmp_path, name)
    paths = [script for _, _, script in every(place)]
    assert len(paths) > 50
    for path in paths:
        done = subprocess.run(  # noqa: S603 - as above
            [BASH, "-n", path], cwd=place.folder, capture_output=True, check=False, timeout=30
        )
        assert (done.returncode, done.stderr) == (0, b""), path


@pytest.mark.parametrize("name", SHAPES)
def test_an_old_bash_stops_as_well(tmp_path: Path, name: str) -> None:
    """That of macOS, 3.2, does not at a subshell that failed. Nor does any bash at the end of
    braces in which something failed before `&&`."""
    place = Place(tmp_path, name)
    for _, _, script in every(place):
        for line in (place.folder / script).read_text(encoding="utf-8").splitlines()[7:]:
            assert line.endswith(" || false") or not re.search(r"(^|[|;&]) *\(", line), line
            assert "base64 -d" not in line, line  # unknown to that of macOS for long
            assert "}" not in line or "&&" not in line, line


def started(place: Place, slot: str, known: str) -> bool:
    """Whether the way back starts a rotation, where Services select a slot."""
    (place.programs / "kubectl").write_text(f"#!/bin/sh\necho {slot}\n", encoding="utf-8")
    (place.programs / "rotctl").write_text(
        f"""#!/bin/sh\n[ "$1" = list ] || touch started\necho '{known}'\n""", encoding="utf-8"
    )
    assert place.run("undo/01-blue-serves/do.sh")[0] == 0
    return (place.folder / "started").exists()


def test_the_way_back_starts_no_rotation_away_from_blue(tmp_path: Path) -> None:
    """It may have got there since the check: while somebody thought about the question."""
    place = Place(tmp_path, "the-guide")
    assert not started(place, "blue", '"outcome": "completed"')
    assert not started(place, "green", '"outcome": null')
    assert started(place, "green", '"outcome": "completed"')


def test_without_blue_what_is_there_is_not_made_as_it_was(tmp_path: Path) -> None:
    """A Deployment whose rollout hangs fails the check too: it keeps its image."""
    place = Place(tmp_path, "the-guide")
    (place.programs / "kubectl").write_text(
        """#!/bin/sh
        case "$*" in
          *apply*) touch applied;;
          *api-blue*) cat blue 2> /dev/null || true;;
          *"get deployment api"*) echo deployment/api;;
        esac
        """,
        encoding="utf-8",
    )
    assert place.run("undo/05-api-former/do.sh")[0] == 0
    assert not (place.folder / "applied").exists()
    (place.folder / "blue").write_text("{}", encoding="utf-8")
    assert place.run("undo/05-api-former/do.sh")[0] == 0
    assert (place.folder / "applied").exists()


def test_a_password_that_cannot_be_encoded_is_not_an_empty_one(tmp_path: Path) -> None:
    place = Place(tmp_path, "an-external-secret")
    (place.programs / "base64").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (place.programs / "base64").chmod(0o755)
    (place.programs / "kubectl").write_text("#!/bin/sh\ntouch patched\n", encoding="utf-8")
    assert place.run("undo/05-blog-former-secret/do.sh")[0] != 0
    assert not (place.folder / "patched").exists()


def test_a_worker_s_only_pods_are_not_led_back(tmp_path: Path) -> None:
    place = Place(tmp_path, "a-worker")
    (script,) = place.folder.glob("moves/*-blue/back.sh")
    assert place.run(str(script.relative_to(place.folder)))[0] != 0


def test_what_the_readme_shows_is_what_the_scripts_have(tmp_path: Path) -> None:
    place = Place(tmp_path, "the-guide")
    readme = (place.folder / "README.md").read_text(encoding="utf-8")
    for _, _, script in every(place):
        text = (place.folder / script).read_text(encoding="utf-8")
        _, _, lines = text.partition("\n\n")
        assert f"```bash\n{lines}```" in readme, script


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("version", 2),
        ("apply", [{}]),
        ("environment", {"PATH": "/tmp"}),  # noqa: S108 - refused
        ("undo", "moves"),
    ],
)
def test_another_index_is_refused(tmp_path: Path, key: str, value: object) -> None:
    place = Place(tmp_path, "the-guide")
    path = place.folder / scripts.INDEX
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}), encoding="utf-8")
    with pytest.raises(ClientError, match="no list of moves"):
        scripts.read(place.folder)


@pytest.mark.parametrize("to", ["../elsewhere", "moves/01-x/../../y", "/etc", "undo/01-group"])
def test_an_index_leads_nowhere_else(tmp_path: Path, to: str) -> None:
    place = Place(tmp_path, "the-guide")
    path = place.folder / scripts.INDEX
    document = json.loads(path.read_text(encoding="utf-8"))
    document["apply"][0]["folder"] = to
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ClientError, match="no list of moves"):
        scripts.read(place.folder)


# -- running


def ran(folder: Path, text: str, longest: float = 30, **variables: str) -> Said:
    (folder / "do.sh").write_text(text, encoding="utf-8")
    made = {"PATH": os.environ["PATH"], **variables}
    return Runner(folder, made, longest)("do.sh", lambda _: None)


def test_a_password_that_a_program_prints_is_not_shown(tmp_path: Path) -> None:
    said = ran(
        tmp_path,
        "printf hunter2-hunter2 > live.value; cat live.value; echo; base64 live.value;"
        ' echo "$KEY" >&2',
        KEY="0123456789abcdef",
    )
    assert said.code == 0
    assert set(said.lines) == {"***"}
    assert not (tmp_path / "live.value").exists()


def test_a_password_with_a_slash_is_not_shown_either_and_a_path_is(tmp_path: Path) -> None:
    said = ran(
        tmp_path, 'echo "$PGPASSWORD $KEY_FILE"', PGPASSWORD="abc/def+ghi=", KEY_FILE=str(tmp_path)
    )
    assert said.lines == (f"*** {tmp_path}",)


def test_a_script_of_a_command_that_was_killed_keeps_others_out(tmp_path: Path) -> None:
    with state.locked(tmp_path) as lock:
        (tmp_path / "do.sh").write_text("exec sleep 60", encoding="utf-8")
        left = subprocess.Popen(  # noqa: S603 - as a killed command leaves it
            [BASH, str(tmp_path / "do.sh")], pass_fds=Runner(tmp_path, {}, lock=lock).locks
        )
        copy = os.dup(lock)
        try:
            os.close(lock)
            with pytest.raises(ClientError, match="still runs"), state.locked(tmp_path):
                pass
        finally:
            os.dup2(copy, lock)
            os.close(copy)
    with left, state.locked(tmp_path):
        left.kill()


def test_another_cluster_is_noticed_before_each_script(tmp_path: Path) -> None:
    (tmp_path / "do.sh").write_text("touch ran # kubectl", encoding="utf-8")

    def first(text: str) -> None:
        assert "kubectl" in text
        raise ClientError("another one", "choose", Exit.USAGE)

    with pytest.raises(ClientError, match="another one"):
        Runner(tmp_path, {}, first=first)("do.sh", lambda _: None)
    assert not (tmp_path / "ran").exists()


def test_what_was_left_of_one_that_was_killed_is_removed(tmp_path: Path) -> None:
    (tmp_path / "rotator.password").write_text("hunter2-hunter2", encoding="utf-8")
    Runner(tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_one_that_takes_too_long_is_ended_and_is_a_passing_fault(tmp_path: Path) -> None:
    said = ran(tmp_path, "sleep 60 & wait", longest=0.3)
    assert said.passing


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_what_runs_and_leaves_no_password(
    tmp_path: Path, how: signal.Signals
) -> None:
    """Of the whole command, as it is typed."""
    place = Place(tmp_path, "the-guide")
    place.calls.mkdir()
    (place.programs / "psql").write_text(
        "#!/bin/sh\nprintf hunter2-hunter2 > rotator.password\necho $$ > running\nexec sleep 60\n",
        encoding="utf-8",
    )
    with subprocess.Popen(  # noqa: S603 - argv is written here
        [sys.executable, "-c", STARTS, str(place.folder)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={
            **os.environ, "PATH": f"{place.programs}:{os.environ['PATH']}",
            "CALLS": str(place.calls), "SAYS": "", "FAILS": "0",
            "PYTHONPATH": os.pathsep.join(map(str, sys.path)),
        },
    ) as process:  # fmt: skip
        running = place.folder / "running"
        try:
            wait_until(lambda: running.exists() and running.read_text(), 60, "psql running")
            process.send_signal(how)
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130, said
    assert "interrupted; what was begun goes on with" in said
    assert not (place.folder / "rotator.password").exists()
    # One that has ended stays in the list until the system's first process has taken note of it.
    pid = int(running.read_text(encoding="utf-8"))
    wait_until(lambda: has_ended(pid), 60, "psql having ended")


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


STARTS = """
import sys
from rotctl.__main__ import main
sys.exit(main(["adopt", "--apply", sys.argv[1], "--yes", "--this-cluster"]))
"""


def test_the_database_is_the_folder_s_and_who_one_is_the_person_s() -> None:
    own = {
        "PATH": "/bin", "PGUSER": "ada", "PGHOST": "elsewhere", "PGSERVICE": "other",
        "PGHOSTADDR": "10.0.0.1", "LAST": "1",
    }  # fmt: skip
    made = environment(own, {"PGHOST": "pg", "PGPORT": "5432", "PGDATABASE": "orders"}, last=False)
    assert (made["PGUSER"], made["PGHOST"], made["PGSSLMODE"]) == ("ada", "pg", "verify-full")
    assert not {"PGSERVICE", "PGHOSTADDR", "LAST"} & made.keys()
    mine = environment({**own, "PGSSLMODE": "require"}, {}, last=True)
    assert (mine["PGSSLMODE"], "PGSSLROOTCERT" in mine, mine["LAST"]) == ("require", False, "1")


def test_programs_that_are_missing_are_named() -> None:
    texts = [
        "kubectl get x | grep .\n",
        "  helm upgrade\n",
        "x=$(psql -c 1)\n# an az is not called",
    ]
    assert tools(texts, "/nowhere") == ["bash", "psql", "kubectl", "helm"]


@pytest.mark.parametrize(
    ("line", "passing"),
    [
        ('psql: error: connection to server at "x", port 1 failed: Connection refused', True),
        ('connection to server at "x" failed: FATAL:  the database system is starting up', True),
        ('connection to server at "x" failed: FATAL:  password authentication failed', False),
        ("ERROR:  canceling statement due to lock timeout", False),
        ("Unable to connect to the server: net/http: TLS handshake timeout", True),
        ("Error from server (NotFound): deployments.apps not found", False),
        ("rotctl: http://x cannot be reached: timed out", True),
    ],
)
def test_faults_that_pass_are_told_from_refusals(line: str, passing: bool) -> None:
    assert Said(1, "", (line,)).passing is passing
    assert not Said(0, "", (line,)).passing
