"""The command that writes the folder: adopt."""

from __future__ import annotations

import sys
import traceback
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rotctl import applying
from rotctl.adopt import work, writing
from rotctl.adopt.asking import Answers
from rotctl.adopt.plan import FORMATS, FORMS, THEN
from rotctl.command import cli, print_json
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from rotctl.adopt.asking import Question
    from rotctl.adopt.plan import Plan

ASKED = 20  # questions; more are a fault of ours
# What reading raises where a manifest has text where Kubernetes has a list, or lacks a field.
MISSHAPEN = (AttributeError, IndexError, KeyError, RecursionError, TypeError, ValueError)


@cli.command()
@click.option("--deployment", multiple=True, metavar="[NS/]NAME", help="A Deployment; repeatable.")
@click.option("--cron-job", multiple=True, metavar="[NS/]NAME", help="A CronJob; repeatable.")
@click.option(
    "--stateful-set", multiple=True, metavar="[NS/]NAME", help="One to adopt in place; repeatable."
)
@click.option(
    "--daemon-set", multiple=True, metavar="[NS/]NAME", help="One to adopt in place; repeatable."
)
@click.option(
    "--deployment-in-place",
    multiple=True,
    metavar="[NS/]NAME",
    help="A Deployment that cannot run twice; repeatable.",
)
@click.option(
    "--in-place",
    type=click.Choice(THEN),
    help="What has pods in place read a changed login.",
)
@click.option(
    "--from",
    "sources",
    multiple=True,
    type=click.Path(),
    help="Manifests, in the place of a cluster.",
)
@click.option("--context", default="", help="Of the kubeconfig; its current one unless given.")
@click.option("--database", metavar="CONNINFO", help="Look at the database too; no password in it.")
@click.option("--no-vault", is_flag=True, help="Do not look whether the secret is in Key Vault.")
@click.option(
    "--form", type=click.Choice(FORMS), default=FORMS[0], show_default=True, help="Of what Git has."
)
@click.option(
    "--base",
    default="",
    metavar="DIR",
    help="With kustomize: what the overlay is over, from --out.",
)
@click.option(
    "--out", type=click.Path(), default="two-slots", show_default=True, help="The folder to write."
)
@click.option("--service", multiple=True, help="The Service by which clients reach it.")
@click.option("--with-service", multiple=True, help="One that moves with it; repeatable.")
@click.option("--other-service", multiple=True, help="One that keeps both slots; repeatable.")
@click.option("--route", multiple=True, help="An HTTPRoute whose weights are to move; repeatable.")
@click.option("--worker", is_flag=True, help="No client calls it.")
@click.option("--secret", default="", help="The secret in Key Vault.")
@click.option(
    "--pods-secret", default="", metavar="SECRET/KEY", help="The Kubernetes Secret that pods read."
)
@click.option("--vault", default="", help="The Key Vault, its URL or name.")
@click.option(
    "--format", "format", type=click.Choice(FORMATS), help="The form of the secret's value."
)
@click.option("--role", default="", help="The role that the application logs in as.")
@click.option(
    "--role-variable", multiple=True, help="A variable that is to say the role; repeatable."
)
@click.option("--role-file", default="", help="The file beside the password's that has the role.")
@click.option("--group", default="", help="The group that owns what both roles make.")
@click.option("--green-role", default="", help="The second role.")
@click.option("--green-secret", default="", help="The second secret.")
@click.option("--host", default="", help="The PostgreSQL server.")
@click.option("--database-name", default="", help="The application's database.")
@click.option("--credential", default="", help="The name in credentials.yaml.")
@click.option("--cluster", default="", help="The cluster's name in credentials.yaml.")
@click.option("--server", default="", help="The URL of the API server.")
@click.option("--app-identity", default="", help="Object id of the app's managed identity.")
@click.option("--break-glass", default="", help="Object id of the group for emergencies.")
@click.option("--approver", multiple=True, help="Who may approve; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON document.")
@applying.options
def adopt(**given: Any) -> Exit | None:
    """Write the folder that leads a Deployment to two slots, or make the moves that it has.

    Without --apply and --undo it reads with your own rights, changes nothing, and asks for what it
    cannot find. With one of them it makes the moves of a folder one by one, and asks before each.
    """
    if given["apply"] or given["undo"]:
        return applying.carry_out(given)
    applying.refuse_what_moves_take(given)
    named = [(kind, name) for kind, names in _kinds(given) for name in names]
    if not named:
        text = "no workload is named"
        cure = "give --deployment NAMESPACE/NAME, --cron-job, --stateful-set or --daemon-set"
        raise ClientError(text, cure, Exit.USAGE)
    if twice := {name for kind, name in named if named.count((kind, name)) > 1}:
        text = f"named more than once: {', '.join(sorted(twice))}"
        raise ClientError(text, "a Deployment gets a twin, or is adopted in place", Exit.USAGE)
    out = Path(given["out"])
    look = work.Look(
        tuple(named),
        tuple(given["sources"]),
        given["context"],
        given["database"],
        not given["no_vault"],
        out,
        tuple(given["deployment_in_place"]),
    )
    known: dict[str, Any] = {one.name: given[one.name] or one.default for one in fields(Answers)}
    try:
        plan = _answered(look, Answers(**known), given)
        files = work.files(plan)
    except MISSHAPEN as error:
        if not look.files:
            raise
        raise _misshapen(error) from None
    written = writing.write(out, files)
    document = work.summary(plan, out, written)
    if given["as_json"]:
        print_json(document)
    else:
        _say(document)
    return None


def _misshapen(error: Exception) -> ClientError:
    """Nothing of the manifests is quoted: a value of theirs may be a secret."""
    at = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{type(error).__name__}, {Path(at.filename).name}:{at.lineno}"
    text = f"the files have an object that Kubernetes would not take ({where})"
    cure = "`kubectl apply --dry-run=server -f FILE` says which, and what is wrong with it"
    return ClientError(text, cure, Exit.USAGE)


def _kinds(given: dict[str, Any]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return (
        ("Deployment", given["deployment"]),
        ("CronJob", given["cron_job"]),
        ("StatefulSet", given["stateful_set"]),
        ("DaemonSet", given["daemon_set"]),
        ("Deployment", given["deployment_in_place"]),
    )


def _answered(look: work.Look, answers: Answers, given: dict[str, Any]) -> Plan:
    """Asks until a plan can be made. Raises `ClientError` where nobody is there to be asked."""
    looked = look.looked()
    for _ in range(ASKED):
        decided = looked.decide(answers, given["form"])
        if decided.plan is not None:
            return decided.plan
        if given["as_json"] or not sys.stdin.isatty():
            raise missing(decided.questions)
        for question in decided.questions:
            answers = answers.with_answer(question.answer, _ask(question))
    raise AssertionError(answers)


def missing(questions: tuple[Question, ...]) -> ClientError:
    lines = [f"- {question}" for question in questions]
    text = "\n".join(
        ("this could not be found, and nobody is at a terminal who could be asked:", *lines)
    )
    more = [
        {"option": one.option, "text": one.text, "found": list(one.choices)} for one in questions
    ]
    return ClientError(text, "give these options", Exit.USAGE, {"questions": more})


def _ask(question: Question) -> str:
    kind = click.Choice(question.choices) if question.choices else None
    said: str = click.prompt(f"{question.text[:1].upper()}{question.text[1:]}", type=kind, err=True)
    return said.strip()


def _say(document: dict[str, Any]) -> None:
    for line in document["found"]:
        click.echo(f"  {line}")
    for line in document["told"]:
        click.echo(f"! {line}")
    written = len(document["written"])
    files = "nothing new" if not written else f"{written} files"
    click.echo(f"{document['out']}: {files}; README.md has the moves")
