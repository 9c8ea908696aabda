"""Builds the Prometheus that tests/real/test_prometheus.py runs, and prints the folder it is in.

    python -m tests.real.build [--optional]

It comes from its Go module, in the version and with the checksums of prometheus/go.mod and go.sum,
without the ways to find what to scrape that the SDKs of all clouds come with, and without its
pages. What was made is kept as tests/kubernetes/build.py keeps a control plane.

Without Go it fails, or says so, prints nothing and exits 0 with `--optional`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.golang import Programs, command

PROMETHEUS = Programs(
    title="Prometheus",
    name="prometheus",
    source=Path(__file__).with_name("prometheus"),
    module="github.com/prometheus/prometheus",
    packages={"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
    flags=("-tags", "remove_all_sd", "-ldflags", "-s -w"),
    needs="about three minutes",
)


def program() -> str | None:
    """The one that PROMETHEUS names, that is on the path, or that was built; None without any."""
    found = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
    go = shutil.which("go")
    if found or go is None:
        return found
    kept = PROMETHEUS.kept(go)
    return str(kept / "prometheus") if kept else None


if __name__ == "__main__":
    command(PROMETHEUS, "tests.real.build", __doc__, "the tests on Prometheus itself")
