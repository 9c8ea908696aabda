"""Structures are read by many threads at once, from the first moment of a process on."""

from __future__ import annotations

import subprocess
import sys

import pytest

from local.process import ROOT

# Before types were prepared, two of five such processes ended by a null pointer.
RACE = """
import sys, threading
sys.setswitchinterval(1e-6)
from rotation.model import wire
from rotation.model.activities import Part, Planned, Reference
from rotation.model.record import Record

REFERENCE = {"rotation": "r", "credential": "c", "request": {}, "notice": {"request": {}}}
VALUE = {**REFERENCE, "reference": REFERENCE, "policy": {"forward": {}}, "workloads": {"a": "b"}}
for kind in (Reference, Part, Planned, Record):
    together = threading.Barrier(8)

    def read():
        together.wait()
        try:
            wire.read(kind, VALUE)
        except ValueError:
            pass

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.parametrize("attempt", range(5))
def test_the_first_reads_of_a_type_may_come_together(attempt: int) -> None:
    command = [sys.executable, "-c", RACE]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)  # noqa: S603 - our own
    assert (done.returncode, done.stderr) == (0, b""), attempt
