"""All that can be said of a `credentials.yaml` before it is deployed: what it is refused for, what
is hardly meant, and whether the files that it names can be read."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from rotation.config import Configuration, doubts, examine, found_at, read
from rotation.config.document import UnreadableError, at
from rotation.config.fields import shown
from rotation.decisions.windows import HORIZON, opening
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotation.config import Found, document

    Problem = tuple[document.Path, str]

Format = Literal["text", "line", "github", "json"]
FORMATS: tuple[Format, ...] = ("text", "line", "github", "json")
ROOT_HAS = "host.json"  # by it the app's root is recognised, below which paths are
PEM, KEY = "-----BEGIN", "PRIVATE KEY"
SYSTEM = "system"  # libpq's word for the authorities of the system
AUTHORITIES = (
    "clusters.*.certificateAuthority",
    "credentials.*.database.sslrootcert",
    "credentials.*.database.endpoint.sslrootcert",
    "credentials.*.workloads.*.tests.*.certificateAuthority",
)


@dataclass(frozen=True)
class Finding:
    """An error or a warning: the path of its file and the line there, and its path in the file."""

    severity: Literal["error", "warning"]
    file: str
    line: int
    path: str
    text: str


@dataclass
class Checked:
    """What was found in a file or folder, in its order; no configuration where it is refused."""

    source: str
    findings: list[Finding]
    credentials: dict[str, str] = field(default_factory=dict)
    unreadable: str | None = None

    @property
    def errors(self) -> list[Finding]:
        return [one for one in self.findings if one.severity == "error"]

    @property
    def valid(self) -> bool:
        return not self.errors


def check(
    source: str, *, files: bool = True, root: Path | None = None, now: datetime | None = None
) -> Checked:
    """What is wrong with a file, or a folder of files, or doubtful.

    `files`: whether certificates and kubeconfigs are looked at too, which may be elsewhere when
    this runs. Their paths are below `root`, as the app has them: unless given, the nearest folder
    above with a host.json, or else the file's own. `now` is that of the machine unless given.
    """
    path = Path(source)
    try:
        written = read(path)
    except UnreadableError as error:
        file = str(path / error.file) if error.file else source
        finding = Finding("error", file, error.line, "", str(error))
        return Checked(source, [finding], unreadable=str(error))
    configuration, found = examine(written)
    if files:
        below = root or _root(path)
        found += [found_at(*each, written) for each in _unreadable(written.value, below)]
    never = _never(configuration, now or datetime.now(UTC))
    found += dict.fromkeys(found_at(*each, written) for each in never)
    doubted = dict.fromkeys(found_at(*each, written) for each in _doubts(configuration))
    findings = [
        *(_finding("error", path, each) for each in found),
        *(_finding("warning", path, each) for each in doubted),
    ]
    findings.sort(key=lambda one: (one.severity, one.file, one.line))
    return Checked(source, findings, _listed(configuration))


def _doubts(configuration: Configuration | None) -> list[Problem]:
    return [] if configuration is None else list(doubts.found(configuration))


def _never(configuration: Configuration | None, now: datetime) -> Iterator[Problem]:
    """A problem for each credential whose rotations would wait for ever. The app, which reads the
    same file for as long as it is deployed, lives with it: nothing is refused for the date."""
    for name, credential in configuration.credentials.items() if configuration else ():
        if opening(credential.hours, now) is None:
            text = (
                f"they leave no time in the next {HORIZON.days} days in which a rotation may begin"
            )
            yield ("credentials", name, "blackouts"), text


def _finding(severity: Literal["error", "warning"], path: Path, found: Found) -> Finding:
    file = str(path / found.place.file) if found.place.file else str(path)
    return Finding(severity, file, found.place.line, found.path, found.text)


def _listed(configuration: Configuration | None) -> dict[str, str]:
    """A line for each credential: its vault, and its workloads."""
    if configuration is None:
        return {}
    return {
        name: f"{each.vault}, workloads {', '.join(one.name for one in each.workloads)}"
        for name, each in configuration.credentials.items()
    }


def _root(path: Path) -> Path:
    """The folder that the app's paths are below."""
    folder = path.resolve().parent
    return next((each for each in (folder, *folder.parents) if (each / ROOT_HAS).exists()), folder)


def _unreadable(file: document.Mapping, root: Path) -> Iterator[Problem]:
    """A problem for each certificate or kubeconfig that the app could not use."""
    for keys in AUTHORITIES:
        for path, written in at(file, *keys.split(".")):
            problem = _authority(written, root)
            if problem is not None:
                yield path, problem
    for path, cluster in at(file, "clusters", "*"):
        if isinstance(cluster, dict) and isinstance(cluster.get("kubeconfig"), str):
            problem = _kubeconfig(cluster["kubeconfig"], root, cluster.get("context"))
            if problem is not None:
                yield (*path, "kubeconfig"), problem


def _authority(written: Any, root: Path) -> str | None:
    """What is wrong with a certificate, or the file that has it; None for what is no text."""
    if not isinstance(written, str) or not written or written == SYSTEM:
        return None
    if written.lstrip().startswith(PEM):
        return _pem("it", written)
    try:
        text = (root / written).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        return _cannot(written, root, error)
    return _pem(f"the file {shown(written)}", text)


def _pem(what: str, text: str) -> str | None:
    if KEY in text:
        return f"{what} has a private key in it: leave the certificates alone"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as error:
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else "no certificate"
        return f"{what} is not PEM text of certificates ({why.replace('_', ' ').lower()})"
    return None


def _kubeconfig(path: str, root: Path, context: object) -> str | None:
    """What is wrong with a kubeconfig; its content is never quoted: it may have tokens."""
    try:
        found = yaml.safe_load((root / path).read_text(encoding="utf-8"))
    except yaml.YAMLError:
        return f"{shown(path)} is not valid YAML"
    except (OSError, ValueError) as error:
        return _cannot(path, root, error)
    contexts = {name for _, name in at(found, "contexts", "*", "name")}
    wanted = context or (found.get("current-context") if isinstance(found, dict) else None)
    if not contexts:
        return f"{shown(path)} is no kubeconfig: it has no contexts"
    if wanted not in contexts:
        known = ", ".join(sorted(map(str, contexts)))
        return f"{shown(path)} has no context {shown(wanted)}; there are: {known}"
    return None


def _cannot(name: str, folder: Path, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
    return f"cannot read {shown(name)} in {folder}: {why}"


def report(checked: Checked, form: Format) -> tuple[str, str]:
    """What a command prints of it to stdout and to stderr."""
    match form:
        case "text":
            return _as_text(checked)
        case "json":
            document = {
                "valid": checked.valid,
                "findings": [vars(one) for one in checked.findings],
                "credentials": sorted(checked.credentials),
            }
            return json.dumps(document, indent=2, ensure_ascii=False) + "\n", ""
        case "line":
            return "".join(f"{_line(one)}\n" for one in checked.findings), ""
        case "github":
            return "".join(f"{_annotation(one)}\n" for one in checked.findings), ""


def _said(one: Finding) -> str:
    return f"{one.path}: {one.text}" if one.path else one.text


def _line(one: Finding) -> str:
    return f"{one.file}:{one.line}: {one.severity}: {_said(one)}"


def _annotation(one: Finding) -> str:
    """https://docs.github.com/actions/reference/workflow-commands-for-github-actions"""
    text = _said(one).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    file = one.file.replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{one.severity} file={file},line={one.line}::{text}"


def _as_text(checked: Checked) -> tuple[str, str]:
    out, err = [], []
    errors = checked.errors
    if errors:
        err.append(f"{Code.CONFIGURATION}: {checked.source} has {len(errors)} problem(s):")
        err += [f"  {_with_place(one, checked)}" for one in errors]
    else:
        out += [f"{name}: {each}" for name, each in checked.credentials.items()]
    warnings = [one for one in checked.findings if one.severity == "warning"]
    err += [f"warning: {_with_place(one, checked)}" for one in warnings]
    if not errors:
        out.append(f"{checked.source} is valid")
    return "".join(f"{each}\n" for each in out), "".join(f"{each}\n" for each in err)


def _with_place(one: Finding, checked: Checked) -> str:
    if checked.unreadable is not None:
        return one.text
    where = f"{one.file}, " if one.file != checked.source else ""
    return f"{one.path or 'file'}: {one.text} ({where}line {one.line})"
