"""Builds the Kubernetes control plane that the tests here run, and prints the folder it is in.

    python -m tests.kubernetes.build [--optional]

etcd, kube-apiserver and kube-controller-manager come from their Go modules, in the versions and
with the checksums of control_plane/go.mod and go.sum. The first build takes about ten minutes on
two cores; what it made is kept below $XDG_CACHE_HOME/credential-rotation (~/.cache) under a name
that changes with those two files and the Go release.

Without Go it fails, or says so, prints nothing and exits 0 with `--optional`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from local.storage import locked

SOURCE = Path(__file__).with_name("control_plane")
KUBERNETES = (
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "k8s.io/kubernetes/cmd/kube-controller-manager",
)
ETCD = "go.etcd.io/etcd/server/v3"
BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager")


class BuildError(RuntimeError):
    """What the Go command said is in it."""


def version() -> str:
    """Of Kubernetes, from go.mod: `v1.35.4`."""
    found = re.search(
        r"^\s*k8s\.io/kubernetes (v\S+)", (SOURCE / "go.mod").read_text(), re.MULTILINE
    )
    if found is None:
        raise BuildError(f"{SOURCE / 'go.mod'} requires no k8s.io/kubernetes")
    return found[1]


def build(go: str) -> Path:
    """The folder of the binaries, built unless they are there. Raises `BuildError`."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "credential-rotation"
    folder = root / f"control-plane-{version()}-{_fingerprint(go)}"
    with locked(root):
        if not all((folder / name).exists() for name in BINARIES):
            print(f"building Kubernetes {version()} (once, about ten minutes)", file=sys.stderr)  # noqa: T201 - a command's progress
            with tempfile.TemporaryDirectory(dir=root) as made:
                _compile(go, Path(made))
                folder.mkdir(exist_ok=True)
                for name in BINARIES:
                    (Path(made) / name).replace(folder / name)
    return folder


def _fingerprint(go: str) -> str:
    release = _run([go, "env", "GOVERSION", "GOOS", "GOARCH"])
    content = [(SOURCE / name).read_bytes() for name in ("go.mod", "go.sum")]
    return hashlib.sha256(b"\0".join([release.encode(), *content])).hexdigest()[:12]


def _compile(go: str, folder: Path) -> None:
    flags = f"-s -w -X k8s.io/component-base/version.gitVersion={version()}"
    common = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", flags]
    _run([*common, "-o", f"{folder}/", *KUBERNETES])
    _run([*common, "-o", str(folder / "etcd"), ETCD])


def _run(command: list[str]) -> str:
    environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    done = subprocess.run(  # noqa: S603 - this module's own arguments
        command, cwd=SOURCE, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildError(f"{' '.join(command[:2])} failed:\n{done.stderr[-4000:]}")
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.kubernetes.build", description=__doc__)
    parser.add_argument("--optional", action="store_true", help="no Go is no failure")
    options = parser.parse_args()
    go = shutil.which("go")
    if go is None:
        what = "no Go here: the tests on a real Kubernetes API server are left out"
        sys.stderr.write(f"{what}\n")
        sys.exit(0 if options.optional else 1)
    try:
        folder = build(go)
    except BuildError as error:
        sys.exit(str(error))
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
