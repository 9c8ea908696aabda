"""Makes a plan of what was read, what was answered and what was seen; or says what is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotctl.adopt import carriers, roles, services
from rotctl.adopt.asking import Asking
from rotctl.adopt.plan import THEN, Cluster, Credential, Login, Plan, Workload
from rotctl.exits import ClientError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rotctl.adopt.asking import Answers, Facts, Question
    from rotctl.adopt.carriers import Carrier
    from rotctl.adopt.original import Original
    from rotctl.adopt.plan import Form

OWN_WORD = re.compile(r"[-_](app|application|user|login|role|svc|service|rw|blue)$", re.IGNORECASE)
# A value that names a user too. Which form it has, only its owner knows.
WHOLE = re.compile(r"_ur[il]$|[-.]ur[il]$|^ur[il]$|dsn|conn", re.IGNORECASE)
SUBJECT = re.compile(r"[\w.:@/][\w.:@/-]{0,254}", re.ASCII)
PORT = 5432
LONGEST_ROLE = 63  # bytes


@dataclass(frozen=True)
class Decided:
    """Either a plan, or questions."""

    plan: Plan | None
    questions: tuple[Question, ...] = ()


def decide(originals: Sequence[Original], answers: Answers, facts: Facts, form: Form) -> Decided:
    asking = Asking(answers)
    read = {one.name: _carrier(one, asking) for one in originals}
    first = next(iter(read.values()))
    _of_one_secret(read)
    credential = _credential(originals, first, asking, facts)
    workloads = [_workload(one, read[one.name], credential, asking) for one in originals]
    cluster = Cluster(
        answers.cluster or (_name(facts.cluster, "cluster") if facts.cluster else "cluster"),
        asking.one("server", "the URL of the API server", [facts.server] if facts.server else []),
        facts.authority,
    )
    identity = _subject(
        asking, "app_identity", "the object id of the app's managed identity, such as a UUID"
    )
    glass = _subject(asking, "break_glass", "the object id of the group for emergencies")
    base = ""
    if form == "kustomize":
        base = asking.one(
            "base", "the folder of the kustomization that has the workload today, as --out sees it"
        )
    _routed(answers, workloads)
    if asking.questions:
        return Decided(None, tuple(asking.questions))
    plan = Plan(credential, cluster, tuple(workloads), identity, glass, form, base, facts.tells)
    return Decided(plan)


def _of_one_secret(read: Mapping[str, Carrier]) -> None:
    """Raises `ClientError` for workloads that read different secrets."""
    known = {one.vault_secret: name for name, one in read.items() if one.vault_secret}
    if len(known) > 1:
        said = ", ".join(f"{name} reads {secret}" for secret, name in known.items())
        text = f"the workloads do not read one secret: {said}"
        raise ClientError(text, "adopt each with those that read the same", Exit.USAGE)


def _routed(answers: Answers, workloads: Sequence[Workload]) -> None:
    """Raises `ClientError` for an HTTPRoute that leads to none of these workloads."""
    moved = {name for one in workloads for name in one.routes}
    if astray := [name for name in answers.route if name not in moved]:
        text = f"no HTTPRoute {astray[0]} leads to a Service of these workloads"
        raise ClientError(text, "correct --route, or give the file that has it", Exit.USAGE)
    if answers.route and answers.with_service:
        text = "--with-service does not go with --route: HTTPRoutes move, and Services stay"
        raise ClientError(text, "leave one of them out", Exit.USAGE)


def _carrier(original: Original, asking: Asking) -> Carrier:
    """The secret with the password, as the pods read it."""
    answers, found = asking.answers, carriers.found(original)
    if answers.pods_secret:
        name, _, key = answers.pods_secret.partition("/")
        of_name = [one for one in found if one.kube_secret == name]
        exact = [one for one in of_name if one.key == key] or of_name
        wanted = [carriers.with_key(one, key) for one in exact[:1]]
    else:
        named = [one for one in found if answers.secret and one.vault_secret == answers.secret]
        wanted = named or carriers.likely(found)
    if len(wanted) == 1 and (wanted[0].mounted or wanted[0].key):
        return wanted[0]
    text = f"the secret that the pods of {original.name} read the password from"
    in_vault = [one.named for one in wanted if one.mounted]
    in_cluster = [one.named for one in wanted if not one.mounted]
    if in_vault:
        asking.ask("secret", f"{text}, in Key Vault", tuple(in_vault))
    if in_cluster or not found:
        asking.ask("pods_secret", f"{text}, as SECRET/KEY", tuple(in_cluster))
    return wanted[0] if wanted else carriers.Carrier("")


def _credential(
    originals: Sequence[Original], carrier: Carrier, asking: Asking, facts: Facts
) -> Credential:
    answers, first = asking.answers, originals[0]
    known = [carrier.vault_secret] if carrier.vault_secret else []
    secret = asking.one("secret", "the secret in Key Vault that has the password", known)
    vault = asking.one(
        "vault", "the URL of the Key Vault", [carrier.vault] if carrier.vault else []
    )
    seen = facts.roles or roles.candidates(first)
    role = asking.one("role", "the role that the application logs in as", seen)
    hosts = [facts.host] if facts.host else roles.says(first, roles.HOST)
    names = [facts.database] if facts.database else roles.says(first, roles.NAME)
    base = OWN_WORD.sub("", role)
    group = answers.group or (base if base != role else f"{role}_owner")
    green = Login(
        answers.green_role or f"{base}_green",
        answers.green_secret or f"{secret.removesuffix('-blue')}-green",
    )
    if len(group.encode()) > LONGEST_ROLE or not group.isprintable():
        asking.ask("group", f"a name of at most {LONGEST_ROLE} bytes for the group that owns")
    for answer, name in (("group", group), ("green_role", green.role)):
        if name in facts.taken_roles:
            text = f"the server has a role {name!r} already: another name for it"
            asking.ask(answer, text)
    ports = [port for port in roles.says(first, roles.PORT) if port.isdecimal()]
    return Credential(
        name=answers.credential or _name(secret or first.name),
        vault=vault_url(vault),
        format=asking.form(_whole(carrier)),
        slots={"blue": Login(role, secret), "green": green},
        group=group,
        host=asking.one("host", "the host name of the PostgreSQL server", hosts),
        port=facts.port or (int(ports[0]) if ports else PORT),
        database=asking.one("database_name", "the database that the application uses", names),
        rotator=Login("rotator", f"{secret.removesuffix('-blue')}-rotator"),
        approvers=answers.approver,
    )


def _name(text: str, kind: str = "db") -> str:
    """A name for credentials.yaml made of another one: 2 to 32 letters, digits and hyphens."""
    made = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-")
    return made if re.match(r"[a-z].", made) else f"{kind}-{made}"[:32].strip("-")


def _subject(asking: Asking, answer: str, text: str) -> str:
    """Whom the cluster knows by a name that stands in commands and in the guard as it is. The app's
    must be given."""
    given = str(getattr(asking.answers, answer))
    if SUBJECT.fullmatch(given) or (not given and answer != "app_identity"):
        return given
    asking.ask(answer, f"{text}; {given!r} is none" if given else text)
    return ""


def vault_url(vault: str) -> str:
    """A vault's URL, of its name too."""
    if not vault or vault.startswith("https://"):
        return vault.rstrip("/")
    return f"https://{vault}" if "." in vault else f"https://{vault}.vault.azure.net"


def _whole(carrier: Carrier) -> str:
    """What reads it, where that is called as if its value were more than a password."""
    return carrier.through if carrier.called(WHOLE) else ""


def _workload(
    original: Original, carrier: Carrier, credential: Credential, asking: Asking
) -> Workload:
    answers = asking.answers
    found = services.found(original, asking)
    then = _then(original, asking)
    mine = tuple(answers.role_variable) or _of_secret(original, carrier, credential)
    role = credential.slots["blue"].role
    told = bool(mine) or bool(answers.role_file) or said(original, role)
    if credential.format == "password" and role and not told:
        text = f"the variable by which {original.name} is told its role: its manifest has none"
        asking.ask("role_variable", text)
    return Workload(
        original, carrier, found.service, found.called, found.moving, found.staying, mine,
        answers.role_file, then, found.routes,
    )  # fmt: skip


def _then(original: Original, asking: Asking) -> str:
    """What has the pods of one in place read a changed login, which no manifest says."""
    if not original.in_place:
        return ""
    if not asking.answers.in_place:
        text = (
            f"whether the pods of {original.name} read a changed login by a rolling restart of"
            " their own, or again by themselves"
        )
        asking.ask("in_place", text, THEN)
    return asking.answers.in_place or THEN[0]


def said(original: Original, role: str) -> bool:
    """Whether the manifests say the role anywhere."""
    return any(roles.carries(one, role) for one in roles.variables(original)) or any(
        roles.renamed(text, role, "") != text for _, _, text in roles.files(original)
    )


def _of_secret(original: Original, carrier: Carrier, credential: Credential) -> tuple[str, ...]:
    """Variables that read the role from the Secret that has the password too."""
    if carrier.mounted or credential.format != "password":
        return ()
    found = [
        one.name
        for one in roles.variables(original)
        if one.secret
        and one.secret.partition("/")[0] == carrier.kube_secret
        and one.secret != carrier.named
        and roles.USER.search(one.name)
        and not carriers.PASSWORD.search(one.name)
    ]
    return tuple(dict.fromkeys(found))
