"""The command that tries a pod's end on copies: rehearse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import yaml

from rotctl.adopt.sources import NAME, NAMESPACE, named
from rotctl.command import Span, ask, cli, print_json
from rotctl.exits import ClientError, Exit
from rotctl.rehearse import entry, looking, manifests, verdict
from rotctl.rehearse.plan import IMAGE, Load
from rotctl.rehearse.running import Rehearsal
from rotctl.rehearse.space import Space

if TYPE_CHECKING:
    from rotctl.rehearse.plan import Plan
    from rotctl.rehearse.verdict import Measured


@cli.command()
@click.argument("deployment", metavar="[NS/]DEPLOYMENT")
@click.option("--context", default="", help="Of the kubeconfig; its current one unless given.")
@click.option("--service", default="", help="The Service by which clients reach it.")
@click.option("--port", default="", help="Its port, by name or number.")
@click.option("--path", default="", help="What the clients GET; / unless given.")
@click.option(
    "--credentials", type=click.Path(), help="A credentials.yaml: Service, port and path by it."
)
@click.option("--host", "name", default="", help="The Host header, if it matters.")
@click.option("--https", is_flag=True, help="The pods speak TLS themselves; it is not verified.")
@click.option(
    "--connections", type=click.IntRange(1, 64), default=8, show_default=True, help="Kept ones."
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100),
    default=5,
    show_default=True,
    help="Requests a second of each client.",
)
@click.option(
    "--seconds",
    "steady",
    type=click.FloatRange(1, 120),
    default=5,
    show_default=True,
    help="Of load before and after each event.",
)
@click.option("--timeout", type=Span(), default="10m", show_default=True, help="For all of it.")
@click.option(
    "--image", default=IMAGE, show_default=True, help="One with python3, for the clients."
)
@click.option("--image-pull-secret", multiple=True, help="Of the namespace; repeatable.")
@click.option(
    "--framework", type=click.Choice(tuple(verdict.RECIPES)), help="Where it cannot be told."
)
@click.option("--dry-run", is_flag=True, help="Print what it would make, and make nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
def rehearse(**given: Any) -> Exit:
    """Try on copies of a Deployment's pods what a rotation does to its clients.

    With your own rights: two more pods like those that serve, which nothing but a Job's clients
    reach. They keep connections to one, traffic moves to the other, and the first ends. Says how
    many requests failed, and which recipe mends it. What serves is not touched.
    """
    space, plan = _planned(given)
    if given["dry_run"]:
        return _shown(plan, as_json=given["as_json"])
    for line in plan.tells:
        click.echo(f"! {line}", err=True)
    question = (
        f"Start two pods like those of {plan.namespace}/{plan.deployment}, with the login that"
        " serves, for a minute or two?"
    )
    ask(question, yes=given["yes"], as_json=given["as_json"])

    def say(text: str) -> None:
        if not given["as_json"]:
            click.echo(f"  {text}", err=True)

    measured = Rehearsal(space, plan, say).run()
    if given["as_json"]:
        print_json(document(plan, measured))
    else:
        for line in lines(measured):
            click.echo(line)
    return Exit.LOST if measured.lost else Exit.DONE


def _planned(given: dict[str, Any]) -> tuple[Space, Plan]:
    """Raises `ClientError`."""
    namespace, name = named(given["deployment"])
    if not NAME.fullmatch(name) or (namespace and not NAMESPACE.fullmatch(namespace)):
        text = f"{given['deployment']!r} is no name of a Deployment"
        raise ClientError(text, "write NAMESPACE/NAME", Exit.USAGE)
    space = Space.of(namespace, given["context"])
    known = (
        entry.asked(given["credentials"], space.namespace, name)
        if given["credentials"]
        else entry.Asked()
    )
    load = Load(
        given["path"],
        given["connections"],
        given["rate"],
        given["steady"],
        https=given["https"] or known.https,
        name=given["name"],
    )
    plan = looking.plan(
        looking.seen(space), name, load,
        service=given["service"] or known.service, port=given["port"] or known.port,
        seconds=given["timeout"], image=given["image"], pull_secrets=given["image_pull_secret"],
        framework=given["framework"] or "", paths=known.paths,
    )  # fmt: skip
    return space, plan


def _shown(plan: Plan, *, as_json: bool) -> Exit:
    made = manifests.all_of(plan)
    if as_json:
        print_json(made)
    else:
        click.echo(yaml.safe_dump_all(made, sort_keys=False), nl=False)
    return Exit.DONE


def document(plan: Plan, measured: Measured) -> dict[str, Any]:
    spans = {"steady": measured.steady, "move": measured.move, "end": measured.end}
    return {
        "deployment": f"{plan.namespace}/{plan.deployment}",
        "service": plan.service,
        "path": plan.load.path,
        "connections": measured.connections,
        "told": measured.end.told,
        "outlived": measured.end.held,
        "failed": measured.lost,
        "phases": {
            name: {"requests": span.requests, "failed": span.failed} for name, span in spans.items()
        },
        "end": {"seconds": round(measured.took, 1), "grace": measured.grace},
        "killed": measured.killed,
        "framework": measured.framework or None,
        "findings": [one.document() for one in verdict.findings(measured)],
        "told_beforehand": list(plan.tells),
    }


def lines(measured: Measured) -> list[str]:
    """For people."""
    steady, move, end = measured.steady, measured.move, measured.end
    requests = steady.requests + move.requests + end.requests
    kept = f"{measured.connections} connections were kept to the pod that ended"
    made = [
        f"{kept}, which took {measured.took:.1f} of its {measured.grace:g} s.",
        f"{requests} requests, of which {measured.lost} failed.",
    ]
    named = (
        ("before anything happened", steady),
        ("while traffic moved", move),
        ("at the end", end),
    )
    made += [f"  {when}: {span.how}" for when, span in named if span.lost]
    for one in verdict.findings(measured):
        made += [one.text, f"  {one.recipe}"]
    return made
