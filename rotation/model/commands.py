"""The objects that reasons are about, and the commands that mend them.

`COMMANDS` has an entry for each code of the world, so that whoever adds one decides it; `NONE` is
for what no one command mends: a manifest, a file or a decision of people. A place in `<...>` is for
what the app cannot know. Commands are for the shell of whoever looks: every name in one is quoted.
They take the cluster, the subscription and the administrator's login from the environment.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from rotation.model.reasons import Code, Reason
from rotation.model.targets import CronJobTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NONE: Final = None  # no one command mends it


@dataclass(frozen=True)
class Thing:
    """The object that a reason is about.

    `kind` is in the words of who has it: Deployment, Service, role, secret. `more` is what commands
    need besides.
    """

    kind: str
    name: str
    namespace: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def at(cls, kind: str, path: str, **more: str) -> Self:
        """The object of a `namespace/name`, or of a name alone."""
        namespace, _, name = path.rpartition("/")
        return cls(kind, name, namespace, more)

    def __str__(self) -> str:
        return f"{self.kind} {self.path}"

    @property
    def path(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Problem(NamedTuple):
    """What stands in the way of something, before it is said in which workload."""

    code: Code
    text: str
    thing: Thing

    def of(self, whose: str) -> Reason:
        """The reason, of a workload for one."""
        return told(self.code, f"{whose}: {self.text}", self.thing)


def told(code: Code, text: str, thing: Thing) -> Reason:
    """The reason of a code about an object, with the command that mends it."""
    return Reason(str(code), text, code.remedy, str(thing), command(code, thing))


def command(code: Code, thing: Thing) -> str:
    """The command that mends what a code says of an object; empty where there is none."""
    made = COMMANDS.get(code)
    return made(thing) if made is not None else ""


# By what they are for


def _kubectl(verb: str, thing: Thing, *more: str) -> str:
    """A command about an object of a cluster; `verb` may be of several words."""
    what = f"{thing.kind.lower()}/{thing.name}"
    return f"kubectl {verb} --namespace {shlex.join([thing.namespace, what, *more])}"


def _patch(thing: Thing, body: Mapping[str, object], *more: str) -> str:
    return _kubectl("patch", thing, *more, "--type", "merge", "--patch", json.dumps(body))


def _apply(thing: Thing) -> str:
    """What is not there has to be applied from wherever its manifest is kept."""
    return f"kubectl apply --namespace {shlex.quote(thing.namespace)} --filename <its manifest>"


def _resume(thing: Thing) -> str:
    return _kubectl("rollout resume", thing)


def _describe(thing: Thing) -> str:
    return _kubectl("describe", thing)


def _point(thing: Thing) -> str:
    """Points what leads traffic, or holds a login, at the slot that is to serve."""
    match thing.kind:
        case "Service":
            selector = {thing.more.get("label", "slot"): "<slot>"}
            body = {"spec": {"selector": selector}}
            return _patch(thing, body, "--field-manager=credential-rotation")
        case "HTTPRoute":
            return _kubectl("edit", thing)
        case "Secret":
            return thing.more.get("label", "")
        case _:
            return ""


def _replaced_together(thing: Thing) -> str:
    """Lets a Deployment have new pods before it ends any; other kinds cannot always."""
    if thing.kind != "Deployment":
        return ""
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    return _patch(thing, {"spec": {"strategy": strategy}})


def _restarts_all(thing: Thing) -> str:
    if thing.kind == "Deployment":
        return _resume(thing)  # nothing else keeps one from it
    return _patch(
        thing, {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": None}}}
    )


def _psql(thing: Thing, *statements: str) -> str:
    """A command for an administrator of the thing's server, in the application's database."""
    known = (key for key in ("host", "port", "dbname") if key in thing.more)
    server = [f"--{key}={thing.more[key]}" for key in known]
    return shlex.join(["psql", *server, *(f"--command={each}" for each in statements)])


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _hash_by_scram(thing: Thing) -> str:
    """Azure's servers let nobody alter the system by SQL."""
    name, _, domain = thing.more.get("host", "").partition(".")
    if not domain.startswith("postgres.database."):
        alter = "ALTER SYSTEM SET password_encryption = 'scram-sha-256'"
        return _psql(thing, alter, "SELECT pg_reload_conf()")
    return (
        "az postgres flexible-server parameter set --resource-group '<its resource group>' "
        f"--server-name {shlex.quote(name)} --name password_encryption --value scram-sha-256"
    )


def _compare(thing: Thing) -> str:
    """Prints the SQL that gives a role what another one has."""
    variables = [f"--variable={key}={thing.more[key]}" for key in ("having", "lacking")]
    return f"{_psql(thing)} {shlex.join([*variables, '--file=infra/database/parity.sql'])}"


def _secret(verb: str, thing: Thing, collection: str, *more: str) -> str:
    parts = [thing.more.get("vault", ""), collection, thing.name, thing.more.get("version", "")]
    at = "/".join(part.rstrip("/") for part in parts if part)
    return shlex.join(["az", "keyvault", "secret", *verb.split(), "--id", at, *more])


def _cron_job(thing: Thing) -> CronJobTarget:
    return CronJobTarget(thing.namespace, thing.name)


COMMANDS: Final[dict[Code, Callable[[Thing], str] | None]] = {
    # The slots' secrets and roles
    Code.SECRET_MISSING: lambda thing: _secret("recover", thing, "deletedsecrets"),
    Code.VERSION_DISABLED: lambda thing: _secret(
        "set-attributes", thing, "secrets", "--enabled", "true"
    ),
    Code.ROLE_NOLOGIN: lambda thing: _psql(thing, f"ALTER ROLE {_identifier(thing.name)} LOGIN"),
    # Its rights, and the app's over it, are of onboarding.md.
    Code.ROLE_MISSING: lambda thing: _psql(thing, f"CREATE ROLE {_identifier(thing.name)} NOLOGIN"),
    # psql asks for the password, and sends a verifier.
    Code.LIVE_PASSWORD: lambda thing: _psql(thing, rf"\password {_identifier(thing.name)}"),
    Code.LIVE_NOT_SCRAM: lambda thing: _psql(
        thing, "SET password_encryption = 'scram-sha-256'", rf"\password {_identifier(thing.name)}"
    ),
    Code.LIVE_UNREADABLE: NONE,  # the file, or a value that must stand in no command
    Code.LIVE_ROLE: NONE,
    Code.LIVE_HOST: NONE,
    Code.LIVE_DATABASE: NONE,
    Code.LIVE_LOGIN: NONE,  # by the code in its text
    Code.SECRET_NEWLINE: NONE,
    Code.ROLE_WEAKER: _compare,
    Code.ROLE_STRONGER: _compare,
    Code.ROLES_NOT_COMPARED: _compare,
    Code.LOGIN_CONNECT: lambda thing: _psql(
        thing,
        f"GRANT CONNECT ON DATABASE {_identifier(thing.more.get('dbname', ''))} "
        f"TO {_identifier(thing.name)}",
    ),
    Code.ROLE_NOT_OURS: lambda thing: (
        _psql(
            thing,
            f"GRANT {_identifier(thing.name)} TO {_identifier(thing.more.get('rotator', ''))} "
            "WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
        )
        if thing.kind == "role"
        else _psql(thing, f"ALTER ROLE {_identifier(thing.name)} CREATEROLE")
    ),
    Code.SERVER_RIGHT: lambda thing: _psql(
        thing, f"GRANT pg_signal_backend, pg_read_all_stats TO {_identifier(thing.name)}"
    ),
    Code.WEAK_HASHES: _hash_by_scram,
    Code.CONNECTIONS_SHORT: NONE,  # which of them, and whether it takes a restart
    Code.NO_EVENT: lambda thing: _secret(
        "set-attributes", thing, "secrets", "--expires", thing.more["advised"]
    ),
    Code.EXPIRES_LATE: lambda thing: _secret(
        "set-attributes", thing, "secrets", "--expires", thing.more["advised"]
    ),
    Code.EXPIRED: NONE,  # a rotation
    Code.CONDITION_UNKNOWN: NONE,
    Code.CONDITION_BEYOND: NONE,
    Code.EXPIRES_BEFORE_WINDOW: NONE,  # when that begins, its owner decides
    # What the app is let do
    Code.RIGHT_MISSING: lambda thing: (
        f"kubectl apply --namespace {shlex.quote(thing.namespace)} "
        "--filename <its copy of infra/kubernetes/rbac.yaml>"
    ),
    Code.VAULT_DENIED: lambda thing: (  # noqa: ARG005 - Azure's ids are in no file of ours
        "az role assignment create --role 'Key Vault Secrets Officer' "
        "--assignee-object-id '<object id of the identity>' --scope '<resource id of the secret>'"
    ),
    Code.QUOTA_SHORT: lambda thing: _kubectl("edit", thing),
    Code.GUARD_MISSING: lambda thing: (
        f"kubectl label namespace {shlex.quote(thing.name)} credential-rotation/guard=on"
        if thing.kind == "namespace"
        else "kubectl apply --filename <its copy of infra/kubernetes/guard.yaml>"
    ),
    Code.CLOCK_DIFFERS: NONE,  # of a system that others run
    Code.NOT_KNOWN: NONE,
    # What leads traffic
    Code.SLOTS_DISAGREE: _point,
    Code.SERVICE_MISSING: _apply,
    Code.ROUTE_MISSING: _apply,
    Code.ROUTE_BACKENDS: lambda thing: _kubectl("edit", thing),
    Code.ROUTE_REFUSED: _describe,
    Code.SERVICE_PODS: NONE,  # manifests
    Code.SERVICE_CALLED: NONE,
    Code.SELECTORS_OVERLAP: NONE,
    Code.OTHER_SERVICE: NONE,  # whose it is, nobody here knows
    Code.OTHER_ENDPOINTS: NONE,
    Code.OTHER_ROUTE: NONE,
    # What has the pods
    Code.DEPLOYMENT_MISSING: _apply,
    Code.DEPLOYMENT_PAUSED: _resume,
    Code.ACTIVE_PAUSED: _resume,
    Code.ACTIVE_AT_ZERO: lambda thing: _kubectl("scale", thing, "--replicas=<number>"),
    Code.ACTIVE_UNHEALTHY: _describe,
    Code.ACTIVE_DOWN: _describe,
    Code.TAKES_ALL_DOWN: _replaced_together,
    Code.OTHER_KIND: NONE,
    Code.CONTAINERS_DIFFER: NONE,
    Code.TEMPLATES_DIFFER: NONE,
    Code.NO_PROBE: NONE,
    # CronJobs
    Code.CRON_JOB_MISSING: _apply,
    Code.ACTIVE_SUSPENDED: lambda thing: _cron_job(thing).patch("suspend", "false"),
    Code.STANDBY_RUNS: lambda thing: _cron_job(thing).patch("suspend", "true"),
    Code.STARTING_DEADLINE: lambda thing: _cron_job(thing).patch(
        "startingDeadlineSeconds", thing.more["advised"]
    ),
    Code.SCHEDULES_DIFFER: NONE,
    # Workloads in place
    Code.EXCHANGED_MISSING: NONE,  # its values must stand in no command
    Code.EXCHANGED_LOGIN: NONE,
    Code.EXCHANGED_UNNAMED: _point,
    Code.EXCHANGED_IMMUTABLE: NONE,
    Code.LOGIN_NEVER_READ: NONE,
    Code.NEVER_RESTARTED: _restarts_all,
    Code.LOGIN_IN_USE: lambda thing: _kubectl("rollout restart", thing),
    # Tests
    Code.JOB_TEMPLATE_MISSING: _apply,
    Code.JOB_NOT_SUSPENDED: lambda thing: _cron_job(thing).patch("suspend", "true"),
    Code.JOB_TEMPLATE: NONE,
    Code.JOB_CALLED: NONE,
    Code.TEST_AUTHORITY: NONE,
    Code.PROOF_BY_SESSIONS: NONE,
    # The file, which whoever deploys it tries first
    Code.CONFIGURATION: NONE,
    Code.NOT_CONFIGURED: NONE,
    Code.ENTRY_INVALID: NONE,
    Code.ENTRY_HOST: NONE,
}
