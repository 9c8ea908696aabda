"""Builds the Kubernetes control plane that the tests here run, and prints the folder it is in.

    python -m tests.kubernetes.build [--optional]

etcd, kube-apiserver and kube-controller-manager come from their Go modules, in the versions and
with the checksums of control_plane/go.mod and go.sum. The first build takes about ten minutes on
two cores; what it made is kept below $XDG_CACHE_HOME/credential-rotation (~/.cache) under a name
that changes with those two files and the Go release.

Without Go it fails, or says so, prints nothing and exits 0 with `--optional`.
"""

from __future__ import annotations

from pathlib import Path

from tests.golang import Programs, command

CONTROL_PLANE = Programs(
    title="Kubernetes",
    name="control-plane",
    source=Path(__file__).with_name("control_plane"),
    module="k8s.io/kubernetes",
    packages={
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "etcd": "go.etcd.io/etcd/server/v3",
    },
    flags=("-ldflags", "-s -w -X k8s.io/component-base/version.gitVersion={version}"),
    needs="about ten minutes",
)

if __name__ == "__main__":
    left_out = "the tests on a real Kubernetes API server"
    command(CONTROL_PLANE, "tests.kubernetes.build", __doc__, left_out)
