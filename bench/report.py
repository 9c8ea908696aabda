"""What was measured, as tables: plain for a terminal, Markdown for the docs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

POOLS = {
    "recycled": "replaced within the change",
    "lasting": "kept for an hour",
    "none": "new for each request",
}


@dataclass(frozen=True)
class Table:
    title: str
    head: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(found: dict[str, Any]) -> Iterator[Table]:
    yield _methods(found["methods"])
    yield _steps(found["demo"], found["scaling"])
    yield _incident(found["incident"])
    yield _dry_run(found["dryRun"])
    yield _startup(found["startup"])
    yield _engine(found)
    yield _intake(found)


def _methods(results: list[dict[str, Any]]) -> Table:
    head = (
        "method",
        "connections of the pool",
        "failed",
        "of requests",
        "longest gap",
        "old password refused",
        "took",
    )
    rows = [
        (
            found["method"],
            POOLS[found["pool"]],
            str(found["failed"]),
            str(found["requests"]),
            f"{found['longest_gap']:.2f} s",
            _refused(found["old_refused"]),
            f"{found['seconds']:.1f} s",
        )
        for found in results
    ]
    return Table("Rotating under load", head, rows)


def _refused(after: float | None) -> str:
    return "still accepted" if after is None else f"after {after:.1f} s"


def _steps(demo: dict[str, Any], scaling: dict[str, Any]) -> Table:
    """Approval is answered at once; it is no step of its own."""
    columns = {"demo": demo, **{f"{size} workloads": one for size, one in scaling.items()}}
    rows = [
        (step, *(_ms(column["steps"][step]) for column in columns.values()))
        for step in demo["steps"]
    ]
    whole = ("whole rotation", *(_ms(column["seconds"]) for column in columns.values()))
    return Table("A rotation by step, median milliseconds", ("step", *columns), [*rows, whole])


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.0f}"


def _incident(found: dict[str, Any]) -> Table:
    rows = [
        (name, *(f"{one[key]:.1f} s" for key in ("refused", "serving", "pods", "locate", "cut")))
        for name, one in (("the first", found["first"]), ("median after it", found["median"]))
    ]
    head = ("incident", "leaked password refused", "serving again", "of it pods", "locate", "cut")
    return Table("A leaked password, cut first: from the call on", head, rows)


def _dry_run(found: dict[str, Any]) -> Table:
    others = found["others"]
    row = (
        str(found["workloads"]),
        f"{found['first']:.1f} s",
        f"{others[len(others) // 2]:.1f} s",
        f"{others[-1]:.1f} s",
    )
    head = ("workloads", "the first", "median of those after it", "longest of them")
    return Table("A dry run: every precondition, tried", head, [row])


def _startup(startup: dict[str, Any]) -> Table:
    rows = [
        (name, f"{found['ms']} ms", f"{found['mb']:.0f} MB")
        for name, found in startup["programs"].items()
    ]
    return Table(
        "Cold start: imports of a new process", ("imported", "processor time", "memory"), rows
    )


def _engine(found: dict[str, Any]) -> Table:
    left, turns, demo = found["left"], found["turns"], found["demo"]
    rows = [
        (
            f"last turn of a rotation of {one['workloads']} workloads",
            f"{one['last_ms']} ms over {one['events']} events",
        )
        for one in turns["rotations"]
    ]
    rows += [
        ("processor time of a turn for each event", f"{turns['event_us']} µs"),
        ("instances of the demo's rotation", str(left["instances"])),
        ("events of all its histories", str(left["events_in_all"])),
        ("size of all its histories", f"{left['history'] / 1024:.0f} KB"),
        ("size of its custom status, of at most 16 KB", f"{left['custom_status'] / 1024:.1f} KB"),
        ("requests to Key Vault", str(demo["vault_requests"])),
        (
            "first plan of a host, which imports the SDKs",
            f"{_ms(demo['first']['plan'])} ms",
        ),
    ]
    return Table("What a rotation costs", ("what", "measured"), rows)


def _intake(found: dict[str, Any]) -> Table:
    rows = [
        (f"events: {kind}", f"{rate['worst']} to {rate['best']} a second")
        for kind, rate in sorted(found["events"].items())
    ]
    rows += [
        (f"GET /api/rotations with {count} of them", f"{ms:.0f} ms")
        for count, ms in found["listing"].items()
    ]
    simulated = found["simulation"]
    rows.append((f"simulation: {simulated['said']}", f"{simulated['runs_a_second']} a second"))
    return Table("Throughput", ("what", "measured"), rows)


def text(found: dict[str, Any]) -> str:
    parts = [_machine(found)]
    for table in tables(found):
        lines = [table.head, *table.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        shown = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        parts.append("\n".join([table.title, "", *shown]))
    return "\n\n".join(parts) + "\n"


def markdown(found: dict[str, Any]) -> str:
    parts = [_machine(found)]
    for table in tables(found):
        lines = [table.head, ("---",) * len(table.head), *table.rows]
        shown = [f"| {' | '.join(line)} |" for line in lines]
        parts.append("\n".join([f"**{table.title}**", "", *shown]))
    return "\n\n".join(parts) + "\n"


def _machine(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return (
        f"`{found['command']}` on {machine['date']}: {machine['cores']} cores "
        f"({machine['processor']}) with a load of {machine['load']} beforehand, "
        f"Python {machine['python']}, PostgreSQL {machine['postgresql']}."
    )
