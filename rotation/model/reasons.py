"""Why something did not happen: a code for programs, a sentence for people, and what to do.

`Code` is the catalogue. docs/recovery.md is made from it (`make generated`), so that each code that
a record, an event, a log line or an HTTP answer carries is explained there.

Each code also says whether an owner may overrule it where `plan` refuses for it: `waived` is what
a rotation then does all the same, or `NEVER`. There is no default: whoever adds a code decides it.
What would break an invariant is never waived: the login that serves must work, with the way back
proved, and nothing that serves may be taken for the standby. Neither is what the rotation cannot do
without.
"""

from __future__ import annotations

from enum import StrEnum, unique
from typing import Final, Self

from msgspec import Struct

NEVER: Final = None  # it cannot be waived


class Area(StrEnum):
    """The parts of docs/recovery.md, in its order."""

    NOTHING_TO_DO = "Nothing to do"
    DECIDED = "Somebody or something decided"
    WORLD = "The world is not as it must be"
    PODS = "Waiting for pods"
    OTHERS = "Somebody else was there"
    TESTS = "Tests"
    SERVERS = "Databases, vaults and clusters"
    APP = "The app itself"
    REQUESTS = "Answers of the HTTP API"


@unique
class Code(StrEnum):
    """A reason's code, with its cause and the remedy, in Markdown that also reads as plain text.

    `waived` is what a rotation does where somebody has waived it; None: it cannot be.
    """

    area: Area
    cause: str
    remedy: str
    waived: str | None

    def __new__(cls, code: str, area: Area, cause: str, remedy: str, waived: str | None) -> Self:
        member = str.__new__(cls, code)
        member._value_ = code
        member.area, member.cause, member.remedy, member.waived = area, cause, remedy, waived
        return member

    STANDBY_EVENT = (
        "event-about-standby",
        Area.NOTHING_TO_DO,
        "an old version of the slot that was replaced nears its end",
        "nothing",
        NEVER,
    )
    STALE_EVENT = (
        "event-about-old-version",
        Area.NOTHING_TO_DO,
        "the credential was rotated after the event was sent",
        "nothing",
        NEVER,
    )
    FOREIGN_EVENT = (
        "event-about-other-secret",
        Area.NOTHING_TO_DO,
        "`credentials.yaml` names another secret by now",
        "nothing",
        NEVER,
    )
    NO_EXPIRY = (
        "no-expiry",
        Area.NOTHING_TO_DO,
        "the sweep looked at a version without an expiry date",
        (
            "give the version an expiry date if it should be rotated: "
            "`az keyvault secret set-attributes --expires`"
        ),
        NEVER,
    )
    NOT_DUE = (
        "not-due",
        Area.NOTHING_TO_DO,
        "the sweep looked, and there is time",
        "nothing; `POST /api/rotations` rotates it now",
        NEVER,
    )

    WINDOW_CLOSED = (
        "window-closed",
        Area.NOTHING_TO_DO,
        "it is outside the windows that the owner allows: a rotation waits for the next one",
        (
            "nothing, if it has time; `outsideWindow` of a request, with the reason, starts it "
            "now: [operations.md](operations.md#windows)"
        ),
        NEVER,
    )

    APPROVED = ("approved", Area.DECIDED, "an approver, or the policy, approved", "nothing", NEVER)
    REJECTED = (
        "rejected",
        Area.DECIDED,
        "an approver, or the policy, rejected",
        "the comment of the decision says why; start again once the cause is gone",
        NEVER,
    )
    CANCELLED = (
        "cancelled",
        Area.DECIDED,
        "somebody cancelled it before its swap",
        "`cancelled` in the record says who and why; start again when it may go on",
        NEVER,
    )

    CONDITION_BREACHED = (
        "condition-breached",
        Area.DECIDED,
        "a value was beyond the limit that the owner wrote down, for as long as they wrote",
        (
            "what the new login does to that value, then start again; if it has nothing to do with "
            "it, correct the condition: [operations.md](operations.md#gates-and-conditions)"
        ),
        NEVER,
    )

    CONDITION_UNKNOWN = (
        "condition-unknown",
        Area.WORLD,
        "a condition's query is not answered",
        (
            "read why; by `whenUnknown` a rotation goes on all the same, or goes back once the "
            "source has been away for `retry.patience`"
        ),
        NEVER,
    )
    CONDITION_BEYOND = (
        "condition-beyond-limit",
        Area.WORLD,
        "a condition's value is beyond its limit before anything was rotated",
        "bring the value back, or correct the limit: a rotation would go back for it",
        NEVER,
    )

    TAKEN_OVER = (
        "taken-over",
        Area.DECIDED,
        "an approver called an incident, and this rotation made way for it",
        "`takenOver` in the record names the incident: see how that one goes on",
        NEVER,
    )
    CONFIRMED = (
        "confirmed",
        Area.DECIDED,
        "a second person confirmed what was done about a leaked password",
        "nothing",
        NEVER,
    )
    DISPUTED = (
        "disputed",
        Area.DECIDED,
        "a second person did not confirm what was done about a leaked password",
        (
            "nothing was undone: talk to both, and to whoever depends on the credential; "
            "[operations.md](operations.md#a-password-has-leaked)"
        ),
        NEVER,
    )
    UNCONFIRMED = (
        "unconfirmed",
        Area.DECIDED,
        "nobody confirmed before the deadline what was done about a leaked password",
        (
            "the new login serves and the leaked one is gone; have a second approver read the "
            "record, and see to it that there is one"
        ),
        NEVER,
    )
    LOGIN_CUT = (
        "login-cut",
        Area.DECIDED,
        (
            "an incident with `cut: first` has ended the login that served, and the other slot is "
            "not up: requests fail until it is"
        ),
        (
            "mend what the other reasons say, and start the incident again at once: `rotctl "
            "incident`, or `POST /api/rotations/{id}/retry`. Never give the leaked password back"
        ),
        NEVER,
    )
    NO_WAY_BACK = (
        "no-way-back",
        Area.DECIDED,
        "an incident with `cut: first` has ended the login that one would go back to",
        "nothing: whoever called the incident has chosen that",
        NEVER,
    )
    LEAK_REPLACED = (
        "leak-replaced",
        Area.OTHERS,
        (
            "the login that an incident is about got another secret version before it was ended: "
            "the password that leaked is no longer in force, and what serves by now is not cut"
        ),
        "look who wrote the version; call the incident again if that one has leaked too",
        NEVER,
    )

    EXPIRES_BEFORE_WINDOW = (
        "expires-before-window",
        Area.WORLD,
        (
            "the secret that serves expires before a rotation which begins by itself would be in a "
            "window"
        ),
        (
            "start one by hand in a window before that, or with `outsideWindow`; or change "
            "`windows`, `blackouts` or `rotateBefore`: [operations.md](operations.md#windows)"
        ),
        NEVER,
    )
    SLOTS_DISAGREE = (
        "workloads-disagree",
        Area.WORLD,
        (
            "selectors of the production Services differ, or have no slot, or an HTTPRoute shares "
            "requests between the slots; a list follows"
        ),
        (
            "point every production Service's selector at the slot that is to serve, and give its "
            "own Service all the weight in every HTTPRoute: [move traffic](#move-traffic)"
        ),
        NEVER,
    )
    SERVICE_MISSING = (
        "service-missing",
        Area.WORLD,
        "onboarding is not finished, or the Service was deleted",
        "apply it: [onboarding.md](onboarding.md), step 5",
        NEVER,
    )
    DEPLOYMENT_MISSING = (
        "deployment-missing",
        Area.WORLD,
        "onboarding is not finished, or the Deployment was deleted",
        "apply it: [onboarding.md](onboarding.md), step 5",
        NEVER,
    )
    OTHER_KIND = (
        "pods-of-another-kind",
        Area.WORLD,
        (
            "the pods of a slot are made by something else than a Deployment, which a rotation "
            "cannot start and stop: the text names it"
        ),
        (
            "[consumers.md](consumers.md#what-is-refused) says it for each kind: a Rollout, a "
            "StatefulSet, a DaemonSet, a Job; mostly, give the workload two Deployments"
        ),
        NEVER,
    )
    EXCHANGED_MISSING = (
        "exchanged-secret-missing",
        Area.WORLD,
        "the Kubernetes Secret that `inPlace` names does not exist, or was deleted",
        "make it, with the login of the slot that serves: [consumers.md](consumers.md#in-place)",
        NEVER,
    )
    EXCHANGED_UNNAMED = (
        "exchanged-secret-unnamed",
        Area.WORLD,
        (
            "the Kubernetes Secret of a workload in place does not say whose login it holds: its "
            "annotation `credential-rotation/slot` is missing, or names no slot"
        ),
        "look whose login it is, and say so: the text has the command",
        NEVER,
    )
    EXCHANGED_LOGIN = (
        "exchanged-secret-login",
        Area.WORLD,
        (
            "the Kubernetes Secret of a workload in place holds another login than that of the "
            "slot that its annotation names, or one that cannot be read"
        ),
        (
            "write the value of the serving slot's secret into it, and its role: "
            "[consumers.md](consumers.md#in-place)"
        ),
        NEVER,
    )
    EXCHANGED_IMMUTABLE = (
        "exchanged-secret-immutable",
        Area.WORLD,
        "the Kubernetes Secret of a workload in place is `immutable`: nothing can be written there",
        "make one anew, without `immutable`",
        NEVER,
    )
    LOGIN_NEVER_READ = (
        "login-never-read",
        Area.WORLD,
        (
            "the pods of a workload in place would not read what is written: they do not use the "
            "Secret; or, with `then: reload`, they read it as a variable, or by a `subPath`, which "
            "Kubernetes never renews"
        ),
        "mount the Secret as a volume, without `subPath`; or write `then: restart`",
        NEVER,
    )
    NEVER_RESTARTED = (
        "never-restarted",
        Area.WORLD,
        (
            "a changed pod template does not restart all pods of the workload: `updateStrategy: "
            "OnDelete`, a `partition`, or a rollout that is paused"
        ),
        "set `type: RollingUpdate` without a `partition`, or resume the rollout",
        NEVER,
    )
    SECRET_MISSING = (
        "active-secret-missing",
        Area.WORLD,
        "wrong name in `credentials.yaml`, or the secret was deleted",
        "correct it; recover the secret: `az keyvault secret recover`",
        NEVER,
    )
    VERSION_DISABLED = (
        "active-version-disabled",
        Area.WORLD,
        "somebody disabled the version that production runs on; new pods cannot mount it",
        "enable it: `az keyvault secret set-attributes --enabled true`",
        NEVER,
    )
    LIVE_UNREADABLE = (
        "active-secret-unreadable",
        Area.WORLD,
        (
            "the value that production runs on cannot be read in the credential's `format`: other "
            "keys, no URL, no password or role in it"
        ),
        (
            "correct `format` in `credentials.yaml`, or write the value in that format, with the "
            "same password, as a new version: [prove the way back](#prove-the-way-back)"
        ),
        NEVER,
    )
    LIVE_ROLE = (
        "active-secret-other-role",
        Area.WORLD,
        "the value that production runs on names another role than the slot's",
        "correct `slots` in `credentials.yaml`, or write the value with the slot's role",
        NEVER,
    )
    LIVE_HOST = (
        "active-secret-other-host",
        Area.WORLD,
        "the value that production runs on names another host or port than `database`",
        (
            "if applications connect to it on purpose (a pooler, an alias), name it as "
            "`database.endpoint`; else correct `database.host` and `port`, or the value; or "
            "[waive](approvals.md#waivers) it"
        ),
        "the login is proved on `database.host`, and the new version names what the live one does",
    )
    LIVE_DATABASE = (
        "active-secret-other-database",
        Area.WORLD,
        "the value that production runs on names another database than `database.name`",
        "correct `database.name` in `credentials.yaml`, or the value",
        NEVER,
    )
    LIVE_PASSWORD = (
        "active-password-wrong",
        Area.WORLD,
        (
            "the server refuses the password that production's secret has: somebody changed one of "
            "the two, or its VALID UNTIL has passed; new connections fail now"
        ),
        (
            "give the role the password of the secret, or write the role's password into the "
            "secret: [prove the way back](#prove-the-way-back)"
        ),
        NEVER,
    )
    LIVE_NOT_SCRAM = (
        "active-role-not-scram",
        Area.WORLD,
        "the password of the role that serves is kept as an MD5 hash, which proves no server",
        (
            "set the same password once more as a SCRAM verifier: "
            "[prove the way back](#prove-the-way-back)"
        ),
        NEVER,
    )
    LIVE_LOGIN = (
        "active-login-barred",
        Area.WORLD,
        (
            "the app cannot log in as the role that serves, for another reason than its password; "
            "the server's words follow"
        ),
        ("mend what the text names, by the row of the code in it, for the roles of both slots"),
        NEVER,
    )
    ROLE_WEAKER = (
        "standby-role-weaker",
        Area.WORLD,
        (
            "the standby's role may not do all that the active one may: requests would fail after "
            "the swap, of which no test may know"
        ),
        (
            "run the SQL in the text, or all of it: `infra/database/parity.sql` prints it; better, "
            "grant to a group that both roles are in: [onboarding.md](onboarding.md)"
        ),
        "traffic moves to a role that may do less",
    )
    ROLE_STRONGER = (
        "standby-role-stronger",
        Area.WORLD,
        "the standby's role may do more than the active one, or has other settings",
        "nothing, if it is meant; `infra/database/parity.sql` prints the SQL that levels them",
        NEVER,
    )
    ROLES_NOT_COMPARED = (
        "roles-not-compared",
        Area.WORLD,
        "the server did not let the active role read the rights of both in its catalogue",
        "run `infra/database/parity.sql` as an administrator, once in each direction",
        NEVER,
    )
    SECRET_NEWLINE = (
        "secret-newline",
        Area.WORLD,
        (
            "the value that production runs on ends in a line break, which is taken to be no part "
            "of it; new versions have none"
        ),
        "nothing, if the application cuts it off or reads new versions as well: its tests tell",
        NEVER,
    )
    ROLE_NOLOGIN = (
        "active-role-nologin",
        Area.WORLD,
        "somebody took the login away; new connections fail now",
        (
            "`ALTER ROLE ... LOGIN`; where an incident has cut it, start that again instead: "
            "[operations.md](operations.md#a-password-has-leaked)"
        ),
        NEVER,
    )
    ROLE_MISSING = (
        "role-missing",
        Area.WORLD,
        "onboarding is not finished, or wrong `database.name`",
        "create it: [onboarding.md](onboarding.md), step 3",
        NEVER,
    )
    CONTAINERS_DIFFER = (
        "containers-differ",
        Area.WORLD,
        "the two Deployments drifted apart",
        "give the standby the same containers, or [waive](approvals.md#waivers) it",
        "containers that both have get the active one's images, others stay as they are",
    )
    TEMPLATES_DIFFER = (
        "templates-differ",
        Area.WORLD,
        (
            "the standby's pod template is not the active one's: the text names where, by paths. "
            "With the slots' own names replaced, the two must be the same"
        ),
        (
            "deploy to both slots; or list the paths under the workload's `differs`; or set its "
            "`template` to `sync`, and each rotation brings the standby along, or to `warn`: "
            "[configuration.md](configuration.md)"
        ),
        "the standby keeps its own template, with the active one's images",
    )
    SELECTORS_OVERLAP = (
        "selectors-overlap",
        Area.WORLD,
        (
            "one slot's Deployment selects pods like the other's too: an autoscaler or a "
            "disruption budget takes them for one"
        ),
        (
            "a selector cannot be changed: make the Deployments anew with the slot in their "
            "selector and on their pods, [onboarding.md](onboarding.md), step 5"
        ),
        NEVER,
    )
    SERVICE_PODS = (
        "service-selects-other-pods",
        Area.WORLD,
        (
            "with a slot in its selector, a Service finds no pod of that slot's Deployment, or "
            "pods of another one as well"
        ),
        "give the Service's selector, and the pod templates, labels that name one slot's pods",
        NEVER,
    )
    SERVICE_CALLED = (
        "service-called",
        Area.WORLD,
        (
            "a workload without `preview` is one that nothing calls, whose replaced pods end at "
            "the swap; its Service has ports or an address of its own, so that clients may call "
            "them"
        ),
        (
            "make it a Service with `clusterIP: None` and without ports, which has to be made "
            "anew; or, if clients call it, name a `preview`; or write `overlap: true`, and both "
            "slots' pods work until the approval: [consumers.md](consumers.md#workers)"
        ),
        NEVER,
    )
    OTHER_SERVICE = (
        "other-service",
        Area.WORLD,
        (
            "a Service that `credentials.yaml` does not name finds pods of a slot: whoever uses it "
            "would be left without a pod once that slot is retired"
        ),
        (
            "name it among the workload's `services`, with the slot in its selector, so that it "
            "moves with the others; or among `otherServices`, if it may lose a slot's pods: "
            "[configuration.md](configuration.md#several-services)"
        ),
        NEVER,
    )
    OTHER_ENDPOINTS = (
        "other-endpoints",
        Area.WORLD,
        (
            "an EndpointSlice that somebody wrote has pods of a slot, and follows no Service that "
            "`credentials.yaml` names"
        ),
        (
            "take it away; or name it, or its Service, among the workload's `otherServices`, if it "
            "may lose a slot's pods: [configuration.md](configuration.md#several-services)"
        ),
        NEVER,
    )
    ROUTE_MISSING = (
        "route-missing",
        Area.WORLD,
        "onboarding is not finished, or the HTTPRoute was deleted",
        "apply it: [consumers.md](consumers.md#gateway-api)",
        NEVER,
    )
    ROUTE_BACKENDS = (
        "route-backends",
        Area.WORLD,
        (
            "a rule of an HTTPRoute does not name both slots' own Services, once each, or its "
            "weights cannot be divided as `weights` asks; the text says which rule"
        ),
        (
            "name both Services in the rule's `backendRefs`, with `weight: 100` for the one that "
            "serves and `weight: 0` for the other one: [consumers.md](consumers.md#gateway-api)"
        ),
        NEVER,
    )
    ROUTE_REFUSED = (
        "route-not-accepted",
        Area.WORLD,
        (
            "no Gateway has accepted the HTTPRoute, or one says that it does not, or that it "
            "cannot resolve what the route refers to: new weights would have no effect"
        ),
        (
            "the conditions in the route's status say why: `kubectl describe httproute`. Mend it, "
            "or take the Gateway that says no out of its `parentRefs`"
        ),
        NEVER,
    )
    OTHER_ROUTE = (
        "other-route",
        Area.WORLD,
        (
            "an HTTPRoute that `credentials.yaml` does not name sends requests to a slot's own "
            "Service: whoever uses it would be left without a pod once that slot is retired"
        ),
        (
            "name it among the `names` of the workload's `route`, so that it moves with `name`; or "
            "among its `others`, if it may lose a slot's pods, as one for tests may: "
            "[consumers.md](consumers.md#gateway-api)"
        ),
        NEVER,
    )
    DEPLOYMENT_PAUSED = (
        "deployment-paused",
        Area.WORLD,
        "somebody paused the standby Deployment (`kubectl rollout pause`): it starts no new pods",
        "`kubectl rollout resume` it, start again",
        NEVER,
    )
    ACTIVE_PAUSED = (
        "active-deployment-paused",
        Area.WORLD,
        (
            "somebody paused the Deployment that serves (`kubectl rollout pause`): a release to it "
            "changes no pod, and a rotation would be the first to run it"
        ),
        "`kubectl rollout resume` it",
        NEVER,
    )
    NO_PROBE = (
        "no-readiness-probe",
        Area.WORLD,
        "no container of a slot's pods has a readiness probe: they count as ready once started",
        "give the application one: [onboarding.md](onboarding.md), step 1",
        NEVER,
    )
    TAKES_ALL_DOWN = (
        "strategy-takes-all-pods-down",
        Area.WORLD,
        (
            "a slot's Deployment ends all its pods before new ones are ready, whenever its pod "
            "template changes: `strategy: Recreate`, or a `maxUnavailable` of all of them"
        ),
        "`rollingUpdate: {maxSurge: 1, maxUnavailable: 0}`",
        NEVER,
    )
    ACTIVE_AT_ZERO = (
        "active-scaled-to-zero",
        Area.WORLD,
        "the active Deployment has no pods: production is down already",
        "scale it up",
        NEVER,
    )
    RIGHT_MISSING = (
        "right-missing",
        Area.WORLD,
        (
            "the API server says that the app may not do something that a rotation does: the Role "
            "or its binding is missing in the namespace, or names other objects"
        ),
        (
            "apply infra/kubernetes/rbac.yaml in the namespace, with the names of the workload's "
            "objects: [onboarding.md](onboarding.md), step 6"
        ),
        NEVER,
    )
    ROLE_NOT_OURS = (
        "role-not-administered",
        Area.WORLD,
        (
            "the login that rotates may not alter a slot's role: it lacks CREATEROLE, or, from "
            "PostgreSQL 16 on, ADMIN over the role"
        ),
        (
            "run infra/database/rotator.sql, and rotator-slot.sql for each slot: "
            "[onboarding.md](onboarding.md), step 3"
        ),
        NEVER,
    )
    SERVER_RIGHT = (
        "server-right-missing",
        Area.WORLD,
        (
            "the login that rotates may not end the slots' sessions (`pg_signal_backend`), or does "
            "not see all of them (`pg_read_all_stats`)"
        ),
        "run infra/database/rotator.sql: [onboarding.md](onboarding.md), step 3",
        NEVER,
    )
    WEAK_HASHES = (
        "weak-password-encryption",
        Area.WORLD,
        (
            "the server makes an MD5 hash of a password that it is given in clear text; rotations "
            "send it SCRAM verifiers, and whoever sets a slot's password by hand may not"
        ),
        "set `password_encryption` to scram-sha-256",
        NEVER,
    )
    QUOTA_SHORT = (
        "quota-too-small",
        Area.WORLD,
        (
            "a ResourceQuota of the namespace has no room for the standby's pods beside the active "
            "ones; a rotation would be taken back before traffic moves"
        ),
        "both slots run side by side: raise the quota, or end what else uses it",
        NEVER,
    )
    CONNECTIONS_SHORT = (
        "connections-too-few",
        Area.WORLD,
        (
            "the server, the database or the role has too few connections left for the standby's "
            "pods beside the active ones; a rotation would be taken back before traffic moves"
        ),
        (
            "both slots run side by side: raise `max_connections` or the limit in the text, make "
            "the workloads' pools smaller, or end what else is connected"
        ),
        NEVER,
    )
    NO_EVENT = (
        "active-without-expiry",
        Area.WORLD,
        (
            "the version that serves has no expiry date: Key Vault announces nothing, and the "
            "sweep leaves it out; it is rotated only when somebody asks"
        ),
        "give it an expiry date",
        NEVER,
    )
    EXPIRED = (
        "active-expired",
        Area.WORLD,
        (
            "the version that serves has expired: it can still be read, and applications that look "
            "at its date may refuse it"
        ),
        "rotate it now",
        NEVER,
    )
    EXPIRES_LATE = (
        "active-expires-late",
        Area.WORLD,
        (
            "the version that serves expires later than one that a rotation makes now: until "
            "then Key Vault announces nothing, and the sweep leaves it out"
        ),
        "give it an expiry date within `validity`, or raise `validity` if the date is meant",
        NEVER,
    )
    GUARD_MISSING = (
        "guard-missing",
        Area.WORLD,
        (
            "a policy of infra/kubernetes/guard.yaml is not in the cluster, not bound, or does not "
            "concern the namespace: nothing holds others back from a slot's Services, or the app "
            "from other changes"
        ),
        "apply infra/kubernetes/guard.yaml, and label the namespace: [deploy.md](deploy.md)",
        NEVER,
    )
    CLOCK_DIFFERS = (
        "clock-differs",
        Area.WORLD,
        (
            "another system's time is more than a minute from the app's: expiry dates, tokens and "
            "waits are off by as much"
        ),
        "synchronise the clock that is wrong: of a managed service it is hardly that one",
        NEVER,
    )
    NOT_KNOWN = (
        "not-known",
        Area.WORLD,
        "something could not be found out without trying it; the text says what and why",
        "nothing; what is optional can be granted: [operations.md](operations.md#doctor)",
        NEVER,
    )
    CRON_JOB_MISSING = (
        "cron-job-missing",
        Area.WORLD,
        "a slot has no CronJob",
        (
            "create it, suspended, or correct `credentials.yaml`: "
            "[consumers.md](consumers.md#cronjobs)"
        ),
        NEVER,
    )
    ACTIVE_SUSPENDED = (
        "active-suspended",
        Area.WORLD,
        (
            "the CronJob of the slot that serves is suspended: nothing runs by its schedule. "
            "Somebody did that, or a rotation that ended before it could resume one"
        ),
        "resume it with the command in the text, or leave the workload out of `credentials.yaml`",
        NEVER,
    )
    STANDBY_RUNS = (
        "standby-not-suspended",
        Area.WORLD,
        "the CronJob of the slot that does not serve is not suspended: each run is done twice",
        "suspend it with the command in the text",
        NEVER,
    )
    STARTING_DEADLINE = (
        "starting-deadline",
        Area.WORLD,
        (
            "a CronJob that is resumed starts the last run that it missed, unless that is longer "
            "ago than its `startingDeadlineSeconds`: without one, or with a long one, a run that "
            "the other slot has done would be done again; with a very short one, a run that is due "
            "during the swap would be left out"
        ),
        "set it with the command in the text: [consumers.md](consumers.md#cronjobs)",
        NEVER,
    )
    SCHEDULES_DIFFER = (
        "schedules-differ",
        Area.WORLD,
        "the two CronJobs of a workload do not run at the same times, or not in the same way",
        "give both the same settings: the text names them",
        "the schedule and the settings of the other slot apply from the swap on",
    )
    ACTIVE_UNHEALTHY = (
        "active-not-healthy",
        Area.WORLD,
        "the active Deployment was in a rollout, or not all ready, for as long as a rotation waits",
        "finish or undo the rollout, start again; or [waive](approvals.md#waivers) it",
        "it rotates at once, to the template and the number of pods that the rollout is to reach",
    )
    ACTIVE_DOWN = (
        "active-not-serving",
        Area.WORLD,
        "no pod of the active Deployment was ready for as long as a rotation waits",
        "production: look at once; start again when it serves",
        NEVER,
    )
    NOT_CONFIGURED = (
        "not-in-configuration",
        Area.WORLD,
        (
            "`credentials.yaml` lost the credential before its rotation was planned, or lost it or "
            "a workload while a rotation of an earlier release was under way"
        ),
        "deploy the file with it, start again",
        NEVER,
    )
    ENTRY_INVALID = (
        "kept-entry-invalid",
        Area.WORLD,
        (
            "the entry of `credentials.yaml` that the rotation was planned with, and goes on with, "
            "is none: a release that removed a key, or somebody wrote to the task hub"
        ),
        (
            "deploy the release before it, and decide the rotation there; if it is no release's "
            "doing, find out who can write to the task hub"
        ),
        NEVER,
    )
    ENTRY_HOST = (
        "kept-entry-host",
        Area.WORLD,
        (
            "the rotation was planned with a vault or API server that is none of the cloud's, and "
            "that `credentials.yaml` does not name any more: the app's token is not sent there"
        ),
        "deploy the file with that vault or cluster once more, until the rotation has ended",
        NEVER,
    )
    CONFIGURATION = (
        "configuration-invalid",
        Area.WORLD,
        "`credentials.yaml` or an app setting is wrong; every problem is listed",
        "correct what is listed; `python -m rotation check FILE` tries a file",
        NEVER,
    )

    NOT_COMING_UP = (
        "pods-not-coming-up",
        Area.PODS,
        (
            "after `ready` the Deployment still reports a failure, `ProgressDeadlineExceeded` for "
            "one; the newest pod's state follows"
        ),
        "the command in the text shows the rest",
        NEVER,
    )
    PODS_REFUSED = (
        "pods-refused",
        Area.PODS,
        (
            "after `ready` the cluster still refuses to make pods (`FailedCreate`): a quota is "
            "full, or an admission webhook or policy says no"
        ),
        "both slots run side by side: make room for twice the pods in the quota; start again",
        NEVER,
    )
    NOT_READY = (
        "pods-not-ready",
        Area.PODS,
        (
            "pods crash, do not fit on a node, or cannot mount within `ready`; the newest pod's "
            "state, restarts and exit code follow"
        ),
        "the command in the text shows the rest; `kubectl get events` what else happened",
        NEVER,
    )
    CANNOT_SERVE = (
        "target-cannot-serve",
        Area.PODS,
        "pods were lost between `prepare` and `swap`, or before a swap back",
        "find out what happened to the pods",
        NEVER,
    )
    SCALING_UP = (
        "target-scaling-up",
        Area.PODS,
        "the load had grown, and the pods to match it did not become ready in time",
        "capacity of the node pool",
        NEVER,
    )
    NOT_SERVING = (
        "slot-not-serving",
        Area.PODS,
        "the slot that should serve has no ready pod when the other is to be retired",
        "production: look at once",
        NEVER,
    )
    ACTIVE_GONE = (
        "active-gone",
        Area.PODS,
        "the active Deployment was deleted or scaled down in the middle",
        "production: look at once",
        NEVER,
    )
    RUN_REPEATS = (
        "run-may-repeat",
        Area.PODS,
        (
            "the swap of CronJobs waits until the last run is longer ago than the other's "
            "`startingDeadlineSeconds`, so that no run is done twice"
        ),
        (
            "nothing, it goes on by itself; if it gave up, make the deadline shorter, or "
            "`retry.patience` longer"
        ),
        NEVER,
    )
    JOB_RUNS = (
        "job-runs",
        Area.PODS,
        (
            "its CronJob lets no run start while another one lasts (`concurrencyPolicy`), so that "
            "the swap waits for the Job that the text names"
        ),
        (
            "nothing, it goes on once the Job has ended; if it gave up, make `retry.patience` "
            "longer than the longest Job, or start the rotation when none runs"
        ),
        NEVER,
    )
    JOBS_LEFT = (
        "jobs-left",
        Area.PODS,
        (
            "a Job of the CronJob whose slot is retired still runs, on its login, after `drain`: "
            "no Job is ever ended by a rotation"
        ),
        (
            "wait for the Jobs that the text names, or `kubectl delete job` them; then [take the "
            "slot down](#take-a-slot-down). Next time, `drain` longer than the longest Job"
        ),
        NEVER,
    )
    PODS_LEFT = (
        "pods-left",
        Area.PODS,
        "pods do not end within `drain`: a longer grace period, a finalizer, a node that is gone",
        "`kubectl get pods`; then [take the slot down](#take-a-slot-down)",
        NEVER,
    )

    LOGIN_UNREAD = (
        "login-not-taken",
        Area.PODS,
        (
            "pods of a workload in place do not use the login that was written into their Secret, "
            "within `ready`: they restart slowly or not, do not read it again, or connect late"
        ),
        (
            "the text says what is missing; [waiting for pods](#waiting-for-pods), or the "
            "application's own log. With `then: reload` it must close its former sessions. A "
            "StatefulSet leaves a pod that never got ready as it is: delete it"
        ),
        NEVER,
    )
    LOGIN_IN_USE = (
        "former-login-in-use",
        Area.PODS,
        (
            "pods of a workload in place still have sessions of the role that is to be retired, "
            "after `drain`, or that is to get another password: it is left as it is"
        ),
        (
            "restart the pods that the text names, or give them more `drain`; then "
            "[take the slot down](#take-a-slot-down)"
        ),
        NEVER,
    )

    SERVES_TRAFFIC = (
        "serves-traffic",
        Area.OTHERS,
        "production selects the slot that was about to be changed: somebody moved traffic",
        "[look](#look); if it serves well, nothing; start a rotation later",
        NEVER,
    )
    FOREIGN_VERSION = (
        "foreign-version",
        Area.OTHERS,
        "a version of the standby's secret was written by somebody else, several times in a row",
        "find who may set secrets in the vault, and stop it; start again",
        NEVER,
    )
    VERSION_GONE = (
        "version-gone",
        Area.OTHERS,
        "the current version of the secret was disabled or deleted in the middle",
        "start again; of the active slot: enable it at once",
        NEVER,
    )
    RELEASE_BROUGHT = (
        "release-brought-along",
        Area.OTHERS,
        (
            "somebody deployed other images to the slot that served, or changed its pod template "
            "(with `template: sync`), in the middle: the other slot was brought to them and tested "
            "before traffic moved"
        ),
        "nothing",
        NEVER,
    )
    RELEASE_LEFT = (
        "release-left-behind",
        Area.OTHERS,
        (
            "somebody deployed other images to the slot that served, or changed its pod template, "
            "in the middle, and traffic moved to one that does not run them: the text says why"
        ),
        "if the release was good, deploy it again, to the slot that serves now",
        NEVER,
    )
    RELEASES_GO_ON = (
        "releases-go-on",
        Area.OTHERS,
        "each time that a slot was brought to the images that serve, others were deployed",
        "wait for the end of the releases, start again",
        NEVER,
    )
    TRAFFIC_ELSEWHERE = (
        "traffic-elsewhere",
        Area.OTHERS,
        (
            "a selector is neither where it was nor where it goes, or weights are not where they "
            "were moved to, or the Service or HTTPRoute is gone"
        ),
        "[look](#look), [move traffic](#move-traffic)",
        NEVER,
    )
    TRAFFIC_CHANGED = (
        "traffic-changed",
        Area.OTHERS,
        (
            "the Service or HTTPRoute was edited between the look at it and the swap, several "
            "times in a row"
        ),
        "find out what edits it (a deployment, a controller), wait for it, start again",
        NEVER,
    )
    ROUTE_PENDING = (
        "route-pending",
        Area.OTHERS,
        (
            "a Gateway had not taken the HTTPRoute as it is when the rotation had moved its "
            "weights: nobody knows where requests went"
        ),
        (
            "look whether what controls the Gateway works: the route's status has a condition for "
            "each, with the `observedGeneration` that it is about"
        ),
        NEVER,
    )
    RELEASED_MEANWHILE = (
        "released-meanwhile",
        Area.OTHERS,
        (
            "somebody deployed to the slot that served while an HTTPRoute shared requests between "
            "both: to go on would have undone that"
        ),
        "start again: the rotation went back, and the release serves",
        NEVER,
    )
    PREVIEW_GONE = (
        "preview-gone",
        Area.OTHERS,
        "the preview Service was changed or deleted",
        "apply it again",
        NEVER,
    )

    TESTS_FAILED = (
        "tests-failed",
        Area.TESTS,
        "the tests of a workload did not pass; the text says why for each, evidence has its code",
        "the pods' log says why",
        NEVER,
    )
    PROOF_BY_SESSIONS = (
        "proof-by-sessions",
        Area.TESTS,
        (
            "no test of a workload names the role that serves, so sessions are the proof: of the "
            "new role from each new pod before the swap, none of the old role from them later"
        ),
        'nothing; `{path: /whoami, json: {role: "{role}"}}` proves more, if there is such a route',
        NEVER,
    )
    PROOF_MISSING = (
        "sessions-missing",
        Area.TESTS,
        (
            "the server shows no session of the new role from a new pod: the application connects "
            "only when it is asked, comes from another address, or uses another login"
        ),
        (
            "add a test whose request needs the database; see the workload's `addresses` (pods "
            "behind a translation, a pooler) and the secret that its Deployment mounts"
        ),
        NEVER,
    )
    PROOF_OTHER_ROLE = (
        "sessions-of-replaced-role",
        Area.TESTS,
        "pods of the new slot have sessions of the role that is replaced",
        "see which secret and which user name the Deployment of that slot has",
        NEVER,
    )
    TEST_STATUS = (
        "test-status",
        Area.TESTS,
        "another HTTP status",
        "the pods' log says why",
        NEVER,
    )
    TEST_FIELD = (
        "test-field",
        Area.TESTS,
        "not what was expected; for the role: the wrong login serves",
        "see `DATABASE_ROLE` and the secret that the Deployment mounts",
        NEVER,
    )
    TEST_NOT_JSON = (
        "test-not-json",
        Area.TESTS,
        "another page in between: an ingress, a sign-in",
        "correct the test's `path` or `url`",
        NEVER,
    )
    TEST_NO_ANSWER = (
        "test-no-answer",
        Area.TESTS,
        "a `url` that the app cannot reach (private network, DNS), or an `sql` that takes too long",
        "make it reachable from the app, or test through `path`; let the query look at less",
        NEVER,
    )
    TEST_QUERY = (
        "test-query",
        Area.TESTS,
        (
            "the server refuses the query of a test, as the slot's role; the text has its SQLSTATE "
            "([list](https://www.postgresql.org/docs/current/errcodes-appendix.html))"
        ),
        (
            "run it as either role. 42501: grant both the same; 42P01: their `search_path` "
            "differs, or it is not there; 25006: it writes, as no test may"
        ),
        NEVER,
    )
    TEST_VALUE = (
        "test-value",
        Area.TESTS,
        "the first column of the first row that the query of a test finds is not its `value`",
        "run it as the slot's role; an `int` is no text: cast what is to be compared with one",
        NEVER,
    )
    TEST_OVERDUE = (
        "test-overdue",
        Area.TESTS,
        (
            "a test for which no time was left: all tests of a step have 40 s together, and "
            "others, or its own repetitions, took too much of them; or the app was held up"
        ),
        "let them answer sooner, with fewer `repeat`s, or make them fewer",
        NEVER,
    )
    JOB_FAILED = (
        "job-failed",
        Area.TESTS,
        (
            "a Job that is a test did not exit with 0, or not in time; the text has the exit code "
            "(137 with OOMKilled: out of memory) or Kubernetes' word, and the command for its log"
        ),
        "run that command; correct what the Job has found, or the CronJob that it is made from",
        NEVER,
    )
    JOB_OVERDUE = (
        "job-overdue",
        Area.TESTS,
        "a Job that is a test was not over in time, and Kubernetes has not ended it either",
        "`kubectl describe` it: a quota that refuses its pod, an image, no node with room",
        NEVER,
    )
    JOB_GONE = (
        "job-gone",
        Area.TESTS,
        (
            "a Job that is a test is not there any more, nor is its log: somebody has deleted it, "
            "or the CronJob that it was made from; or more than 30 days have passed since its end"
        ),
        "decide by the other evidence, or reject and rotate again",
        NEVER,
    )
    JOB_FOREIGN = (
        "job-foreign",
        Area.TESTS,
        "a Job of the name that a test's would have was made by somebody else",
        "see what it is, delete it, start again",
        NEVER,
    )
    JOB_TEMPLATE_MISSING = (
        "job-template-missing",
        Area.TESTS,
        "the CronJob that a test's Job is to be made from is not there",
        "apply it, or correct `job` in `credentials.yaml`",
        NEVER,
    )
    JOB_NOT_SUSPENDED = (
        "job-not-suspended",
        Area.TESTS,
        "the CronJob that a test's Job is made from runs by itself too",
        "set its `suspend: true`: it is there for its template",
        NEVER,
    )
    JOB_TEMPLATE = (
        "job-template",
        Area.TESTS,
        "the CronJob that a test's Job is made from asks for several pods; a test is one",
        "take `completions`, `parallelism` and `completionMode` out of its `jobTemplate`",
        NEVER,
    )
    JOB_CALLED = (
        "job-called",
        Area.TESTS,
        "a Service would find the pod of a Job that is a test, and send it requests",
        "give the CronJob's pod template other labels than those that the Service selects by",
        NEVER,
    )
    TEST_METADATA = (
        "test-metadata-address",
        Area.TESTS,
        "link-local addresses are refused: they hand out tokens",
        "use another address",
        NEVER,
    )
    TEST_URL = (
        "test-url",
        Area.TESTS,
        "only http:// and https:// URLs with a host are fetched",
        "correct the URL",
        NEVER,
    )
    TEST_AUTHORITY = (
        "test-certificate-authority",
        Area.TESTS,
        "the certificateAuthority of a test is neither PEM text nor a file that can be read",
        "correct it: PEM text, or the path of a file that is deployed with the app",
        NEVER,
    )
    TEST_PATH = (
        "test-path",
        Area.TESTS,
        "`{role}` in a test's `path` made `.` or `..` of it, which would lead out of the proxy",
        "correct the path",
        NEVER,
    )
    PROXY_DENIED = (
        "proxy-denied",
        Area.TESTS,
        "the right to `get` on `services/proxy` is missing, which tests by `path` need",
        (
            "apply infra/kubernetes/rbac.yaml in the namespace ([onboarding.md](onboarding.md), "
            "step 6), test by a `url` that has `{slot}` in it, or let sessions prove: "
            "[operations.md](operations.md#where-the-api-servers-proxy-is-closed)"
        ),
        NEVER,
    )
    PROXY_REFUSED = (
        "proxy-connection-refused",
        Area.TESTS,
        (
            "the API server reached the pod's address, and nothing listens at the port there, or "
            "a rule refuses it"
        ),
        (
            "correct the Service's `targetPort`; the container must listen on all addresses, not "
            "on 127.0.0.1 alone"
        ),
        NEVER,
    )
    PROXY_RESET = (
        "proxy-connection-reset",
        Area.TESTS,
        (
            "the pod, or a mesh's sidecar beside it, closed the API server's connection before it "
            "answered: strict mTLS does that"
        ),
        (
            "exempt the port from strict mTLS, test by a `url` that has `{slot}` in it, or let "
            "sessions prove: "
            "[operations.md](operations.md#where-the-api-servers-proxy-is-closed)"
        ),
        NEVER,
    )
    PROXY_TIMEOUT = (
        "proxy-timeout",
        Area.TESTS,
        (
            "no answer came through the API server in the test's `timeout`: a NetworkPolicy that "
            "drops, or an application that is slow"
        ),
        (
            "let the API server's way to the pods (on AKS the konnectivity agents of kube-system) "
            "through the NetworkPolicy, raise `timeout`, test by a `url` that has `{slot}` in it, "
            "or let sessions prove: "
            "[operations.md](operations.md#where-the-api-servers-proxy-is-closed)"
        ),
        NEVER,
    )
    PROXY_NO_ROUTE = (
        "proxy-no-route",
        Area.TESTS,
        (
            "the API server has no route to the pod's address: a NetworkPolicy that rejects, or "
            "the network of the node"
        ),
        (
            "let the API server's way to the pods (on AKS the konnectivity agents of kube-system) "
            "through the NetworkPolicy, test by a `url` that has `{slot}` in it, or let sessions "
            "prove: [operations.md](operations.md#where-the-api-servers-proxy-is-closed)"
        ),
        NEVER,
    )
    PROXY_TUNNEL = (
        "proxy-tunnel",
        Area.TESTS,
        (
            "the tunnel between API server and nodes (konnectivity) did not reach the pod, and "
            "does not say why"
        ),
        (
            "look at the konnectivity agents in kube-system and at NetworkPolicies, test by a "
            "`url` that has `{slot}` in it, or let sessions prove"
        ),
        NEVER,
    )
    PROXY_TLS = (
        "proxy-tls",
        Area.TESTS,
        (
            "what answers at the Service's port does not speak as the test does: TLS where the "
            "test's `scheme` is `http`, none where it is `https`, or something else"
        ),
        (
            "name the `scheme` of the test, or the port that speaks it as `port`; where that wants "
            "a client's certificate, test by a `url` that has `{slot}` in it, or let sessions prove"
        ),
        NEVER,
    )
    PROXY_NO_PODS = (
        "proxy-no-endpoints",
        Area.TESTS,
        (
            "the Service has no ready pod with that port: the selector finds none, or "
            "`targetPort` names none"
        ),
        "compare the Service's selector and ports with the pods': `kubectl get endpointslices`",
        NEVER,
    )
    PROXY_NO_PORT = (
        "proxy-no-port",
        Area.TESTS,
        "the Service has no such port",
        "correct the workload's `port`, or the Service's",
        NEVER,
    )
    PROXY_ERROR = (
        "proxy-unreachable",
        Area.TESTS,
        (
            "the API server could not reach the pod, for a reason that is not known here; its log "
            "has it"
        ),
        (
            "look at the API server's log for the Service, test by a `url` that has `{slot}` in "
            "it, or let sessions prove"
        ),
        NEVER,
    )

    DATABASE_UNREACHABLE = (
        "database-unreachable",
        Area.SERVERS,
        (
            "there was no connection, for a reason that is not known here; the client's class of "
            "error follows"
        ),
        "look at the network between the app and `database.host`, and at the server's log",
        NEVER,
    )
    DATABASE_DOWN = (
        "database-connection-refused",
        Area.SERVERS,
        (
            "nothing listens at `database.host` and `database.port`: the server is down, or the "
            "port another"
        ),
        "start the server; correct the port",
        NEVER,
    )
    DATABASE_TIMEOUT = (
        "database-timeout",
        Area.SERVERS,
        (
            "no answer came: a firewall, a missing route or private endpoint, or a server that is "
            "frozen"
        ),
        (
            "let the app's network through the server's firewall, or route it there: "
            "[deploy.md](deploy.md)"
        ),
        NEVER,
    )
    DATABASE_NAME = (
        "database-host-unresolved",
        Area.SERVERS,
        "the name `database.host` does not resolve where the app runs",
        "correct it; link the private DNS zone of the server to the app's network",
        NEVER,
    )
    DATABASE_HUNG_UP = (
        "database-hung-up",
        Area.SERVERS,
        (
            "the connection was made, and closed again before anything was said: a proxy or load "
            "balancer in between, or a server that restarts"
        ),
        "look at what is between the app and the server, and at the server's log",
        NEVER,
    )
    DATABASE_PROTOCOL = (
        "database-other-protocol",
        Area.SERVERS,
        "what answers at `database.host` and `database.port` does not speak PostgreSQL's protocol",
        "correct host and port",
        NEVER,
    )
    DATABASE_REFUSES = (
        "database-refuses",
        Area.SERVERS,
        (
            "the server refuses the connection in words that are not known here: another "
            "language, or a release that is newer"
        ),
        "the server's log says why, at that time and for that role",
        NEVER,
    )
    DATABASE_TLS_VERSION = (
        "database-tls-version",
        Area.SERVERS,
        "server and app have no version of TLS in common: the app speaks 1.2 and 1.3",
        (
            "allow one of them: `ssl_min_protocol_version` and `ssl_max_protocol_version` of the "
            "server"
        ),
        NEVER,
    )
    DATABASE_TLS = (
        "database-tls",
        Area.SERVERS,
        "TLS failed before a login was tried: no cipher in common, or no TLS behind the answer",
        "look at `ssl_ciphers` of the server, and at what is between the app and it",
        NEVER,
    )
    DATABASE_NO_TLS = (
        "database-no-tls",
        Area.SERVERS,
        "the server, or a pooler in front of it, speaks no TLS, and `sslmode` asks for it",
        "turn `ssl` on there (PgBouncer: `client_tls_sslmode`); `sslmode: disable` is for tests",
        NEVER,
    )
    DATABASE_CERTIFICATE = (
        "database-certificate",
        Area.SERVERS,
        "the server's certificate is of an authority that is not trusted, or of another name",
        "correct `database.host` or `sslrootcert`; `sslmode: require` proves no server",
        NEVER,
    )
    DATABASE_CLIENT_CERTIFICATE = (
        "database-client-certificate",
        Area.SERVERS,
        "`pg_hba.conf` asks for a client's certificate, and the app has none",
        "give the rotating login and both slots' roles a line without `clientcert` and `cert`",
        NEVER,
    )
    DATABASE_STARTING = (
        "database-starting",
        Area.SERVERS,
        "the server is starting, shutting down, or recovering",
        "wait for it; the server's log says what it does",
        NEVER,
    )
    DATABASE_BUSY = (
        "database-busy",
        Area.SERVERS,
        "the server had no resources, or was shutting down",
        "look at the server",
        NEVER,
    )
    DATABASE_FULL = (
        "database-connections-used-up",
        Area.SERVERS,
        "the server has no connection left: `max_connections`, or a limit of the role or database",
        (
            "end what holds them, or raise the limit: during a rotation both slots have theirs; "
            "GRANT pg_use_reserved_connections TO the rotating login (PostgreSQL 16)"
        ),
        NEVER,
    )
    DATABASE_READ_ONLY = (
        "database-read-only",
        Area.SERVERS,
        "the server takes no changes: a failover is under way, its disk is full, or it is a copy",
        "`database.host` must name the primary; free or enlarge its disk",
        NEVER,
    )
    DATABASE_POOLER = (
        "database-pooler",
        Area.SERVERS,
        "a pooler answers at `database.host`, and start-up options do not reach the server",
        "name the server itself; applications may go on using the pooler",
        NEVER,
    )
    POOLER_FULL = (
        "pooler-connections-used-up",
        Area.SERVERS,
        "PgBouncer takes no more clients: `max_client_conn`",
        "raise it, or end what holds them; during a rotation both slots have theirs",
        NEVER,
    )
    POOLER_WAITING = (
        "pooler-no-server",
        Area.SERVERS,
        (
            "PgBouncer had no connection to the server in `query_wait_timeout`: its pool is used "
            "up, or it cannot log in there"
        ),
        (
            "PgBouncer's log says which: raise the pool's size, or mend its way to the server: "
            "[pooler.md](pooler.md)"
        ),
        NEVER,
    )
    DATABASE_HOST = (
        "database-host",
        Area.SERVERS,
        "the app's Entra token is for the cloud's own PostgreSQL servers, and this host is none",
        (
            "correct `database.host` or ROTATION_CLOUD, list it in ROTATION_DATABASE_HOSTS, "
            "or use `admin.secret`"
        ),
        NEVER,
    )
    LOGIN_SLOW = (
        "login-slow",
        Area.SERVERS,
        (
            "a login as the slot's role did not end in time: the server is frozen, or the role's "
            "verifier asks for millions of rounds"
        ),
        "look at the server, and at who may change the role's password; start again",
        NEVER,
    )
    LOGIN_REFUSED = (
        "login-refused",
        Area.SERVERS,
        "the server's words follow: wrong password, NOLOGIN",
        (
            "of the slot's role in `verify`: start again, which makes a new password; "
            "of the rotating login: its secret in Key Vault is not its password"
        ),
        NEVER,
    )
    LOGIN_HBA = (
        "login-pg-hba",
        Area.SERVERS,
        (
            "no line of `pg_hba.conf` (of PgBouncer: `auth_hba_file`) lets this role in from the "
            "app, with that encryption, to that database; or one rejects it"
        ),
        (
            "add a line for both slots' roles and the rotating login, from the app's network "
            "(Azure: the server's firewall rules)"
        ),
        NEVER,
    )
    LOGIN_CONNECT = (
        "login-no-connect",
        Area.SERVERS,
        "the role has no CONNECT on the database",
        "`GRANT CONNECT ON DATABASE ... TO` the group of both slots' roles",
        NEVER,
    )
    LOGIN_DATABASE = (
        "login-no-database",
        Area.SERVERS,
        (
            "the database is not there or takes no connections, or a pooler does not know it or "
            "has it disabled"
        ),
        "correct `database.name`, or enable it; in a pooler, list it",
        NEVER,
    )
    LOGIN_METHOD = (
        "login-other-method",
        Area.SERVERS,
        (
            "`pg_hba.conf` asks for another method than SCRAM: clear text, GSSAPI, LDAP, or none "
            "at all"
        ),
        "give the rotating login and both slots' roles a line with `scram-sha-256`",
        NEVER,
    )
    LOGIN_BARRED = (
        "login-barred",
        Area.SERVERS,
        (
            "the server does not let the role in: it cannot load a library that a setting of the "
            "role or the database names, or says no more than SQLSTATE 28000"
        ),
        "the server's log says why, at that time and for that role",
        NEVER,
    )
    LOGIN_NOT_SCRAM = (
        "login-not-scram",
        Area.SERVERS,
        "the server asked for an MD5 hash: the role's password is kept as one, not as SCRAM",
        "set the password once more with `password_encryption` at `scram-sha-256`",
        NEVER,
    )
    ENDPOINT_BEHIND = (
        "endpoint-behind",
        Area.SERVERS,
        "a pooler at `database.endpoint` refused the new login for all the time of the step",
        "bring it the new password, by `auth_query` or its list: [pooler.md](pooler.md)",
        NEVER,
    )
    REPLICA_BEHIND = (
        "replica-behind",
        Area.SERVERS,
        "a read replica had not replayed the change of the role within the time of the step",
        "look at the replica's lag (`pg_stat_replication` on the server); then start again",
        NEVER,
    )
    DATABASE_RIGHT = (
        "database-right-missing",
        Area.SERVERS,
        "a right is missing, on PostgreSQL 16 most often `rotator-slot.sql`",
        (
            "give the rotating login the rights in infra/database/rotator.sql: "
            "[onboarding.md](onboarding.md), step 3"
        ),
        NEVER,
    )
    DATABASE_MISSING = (
        "database-object-missing",
        Area.SERVERS,
        "the role or database is not there",
        "create it: [onboarding.md](onboarding.md), step 3",
        NEVER,
    )
    DATABASE_ERROR = (
        "database-error",
        Area.SERVERS,
        "the server refused the statement, or failed in it; its SQLSTATE follows",
        "look it up in PostgreSQL's list of error codes, and in the server's log",
        NEVER,
    )
    FORMAT = (
        "secret-format",
        Area.SERVERS,
        "`format` does not fit the secret's value",
        "correct `format` in credentials.yaml, or write the secret anew",
        NEVER,
    )
    FORMAT_ELSEWHERE = (
        "secret-format-elsewhere",
        Area.SERVERS,
        "the secret's value has the password in a place that `format` does not know",
        (
            "write the secret anew with the password in its place only, or as a connection string: "
            "`format: json` knows those beside the password"
        ),
        NEVER,
    )
    VAULT_DENIED = (
        "vault-denied",
        Area.SERVERS,
        (
            "Key Vault knows the app and says that no role assignment lets it do that; a new one "
            "is in force after ten minutes at most"
        ),
        "grant the app's identity the role that docs/deploy.md names",
        NEVER,
    )
    VAULT_POLICY = (
        "vault-access-policy",
        Area.SERVERS,
        "the vault goes by access policies, and none of them lets the app do that",
        (
            "give the app's identity Get, List and Set on secrets in the vault's access policies, "
            "or let the vault go by Azure RBAC"
        ),
        NEVER,
    )
    VAULT_FIREWALL = (
        "vault-firewall",
        Area.SERVERS,
        (
            "the vault's firewall does not know the address that the app comes from; no grant is "
            "missing"
        ),
        (
            "allow the app's subnet or address in the vault's network rules, or give the vault a "
            "private endpoint: [deploy.md](deploy.md)"
        ),
        NEVER,
    )
    VAULT_PRIVATE = (
        "vault-private",
        Area.SERVERS,
        (
            "public access to the vault is off, and the app does not come through an approved "
            "private endpoint; no grant is missing"
        ),
        (
            "link the vault's private DNS zone to the app's network, and approve the endpoint: "
            "[deploy.md](deploy.md)"
        ),
        NEVER,
    )
    VAULT_TOKEN = (
        "vault-token-refused",
        Area.SERVERS,
        (
            "Key Vault does not accept the app's token: the vault is of another tenant or cloud, "
            "or the token was revoked"
        ),
        "move the vault to the app's tenant, or correct ROTATION_CLOUD and the vault's URL",
        NEVER,
    )
    VAULT_REFUSED = (
        "vault-refused",
        Area.SERVERS,
        (
            "the vault, or something in front of it, refuses for a reason that is not known here; "
            "status and code follow"
        ),
        (
            "look the code up in Key Vault's list of error codes; the vault's audit log has the "
            "request"
        ),
        NEVER,
    )
    VAULT_CONFLICT = (
        "vault-conflict",
        Area.SERVERS,
        "the secret's name is taken by a deleted one",
        "`az keyvault secret recover`",
        NEVER,
    )
    VAULT_MISSING = (
        "vault-missing",
        Area.SERVERS,
        "the secret or this version was deleted in the middle",
        "recover it, start again",
        NEVER,
    )
    VAULT_DISABLED = (
        "vault-version-disabled",
        Area.SERVERS,
        "somebody disabled this version in the middle",
        "start again",
        NEVER,
    )
    VAULT_UNAVAILABLE = (
        "vault-unavailable",
        Area.SERVERS,
        "no answer of the vault, or one that passes: DNS, a private endpoint, throttling",
        "make the vault reachable from the app",
        NEVER,
    )
    VAULT_ERROR = (
        "vault-error",
        Area.SERVERS,
        "the vault did not accept the request; its status and code follow",
        "look the code up in Key Vault's list of error codes",
        NEVER,
    )
    CLUSTER_TOKEN = (
        "cluster-token-refused",
        Area.SERVERS,
        "another tenant, or the cluster has no Entra integration",
        "check `server` and the cluster's sign-in",
        NEVER,
    )
    CLUSTER_DENIED = (
        "cluster-denied",
        Area.SERVERS,
        "RBAC: the Role or its binding is missing, or names other objects",
        "apply infra/kubernetes/rbac.yaml in the namespace: [onboarding.md](onboarding.md), step 6",
        NEVER,
    )
    CLUSTER_REFUSED = (
        "cluster-refused",
        Area.SERVERS,
        (
            "the API server, or something in front of it, refuses for a reason that is not known "
            "here, and neither RBAC nor admission says so; status and reason follow"
        ),
        "the API server's audit log has the request and why it was refused",
        NEVER,
    )
    CLUSTER_GUARDED = (
        "cluster-guarded",
        Area.SERVERS,
        (
            "the cluster's guard, infra/kubernetes/guard.yaml, denied the change: its ConfigMap is "
            "gone or names another identity or label, or it is another release's; or, for a Job, "
            "jobs-guard.yaml did: it does not list its image, ServiceAccount, Secret or ConfigMap"
        ),
        (
            "put `identity` (the app's object id) and `slotLabel` (the workloads' `selectorLabel`) "
            "right in this release's guard.yaml and apply it: [deploy.md](deploy.md); list in "
            "jobs-guard.yaml what the CronJob's template names"
        ),
        NEVER,
    )
    CLUSTER_QUOTA = (
        "cluster-quota",
        Area.SERVERS,
        "a ResourceQuota of the namespace has nothing left for the change",
        "raise the quota, or free some of it: `kubectl describe quota`",
        NEVER,
    )
    CLUSTER_ADMISSION = (
        "cluster-admission-denied",
        Area.SERVERS,
        "an admission webhook of the cluster denied the change",
        "ask whoever runs the webhook; the API server's audit log names it",
        NEVER,
    )
    CLUSTER_POLICY = (
        "cluster-policy-denied",
        Area.SERVERS,
        (
            "an admission policy of the cluster's own (not the guard) denied the change; no right "
            "is missing"
        ),
        (
            "ask whoever keeps the policy: `kubectl get validatingadmissionpolicies`; the API "
            "server's audit log names it"
        ),
        NEVER,
    )
    CLUSTER_WEBHOOK = (
        "cluster-webhook-down",
        Area.SERVERS,
        "an admission webhook of the cluster did not answer, so that nothing can be changed",
        "bring the webhook's pods back; the API server's log names it",
        NEVER,
    )
    CLUSTER_MISSING = (
        "cluster-object-missing",
        Area.SERVERS,
        "a Deployment, Service or Secret was deleted in the middle",
        "apply it again, start again",
        NEVER,
    )
    CLUSTER_CONFLICT = (
        "cluster-conflict",
        Area.SERVERS,
        "somebody else changed the object at the same moment",
        "start again",
        NEVER,
    )
    CLUSTER_UNAVAILABLE = (
        "cluster-unavailable",
        Area.SERVERS,
        "private cluster without a route, authorised ranges, cluster stopped or overloaded",
        "make the API server reachable from the app; check `certificateAuthority`",
        NEVER,
    )
    CLUSTER_ERROR = (
        "cluster-error",
        Area.SERVERS,
        "the API server did not accept the request; its status and reason follow",
        "look at the named fields of the object",
        NEVER,
    )
    CLUSTER_ANSWER = (
        "cluster-answer",
        Area.SERVERS,
        "something that is no Kubernetes API answers at `server`",
        "correct it",
        NEVER,
    )
    SELECTOR_UNKNOWN = (
        "selector-unknown",
        Area.SERVERS,
        "a Deployment's selector is empty, or has an operator that this release does not know",
        "select its pods by matchLabels, or by In, NotIn, Exists and DoesNotExist",
        NEVER,
    )
    CLUSTER_SETTINGS = (
        "cluster-settings",
        Area.SERVERS,
        "`certificateAuthority` or `kubeconfig` in `credentials.yaml`",
        "check the path and the context",
        NEVER,
    )
    IDENTITY_MISSING = (
        "identity-missing",
        Area.SERVERS,
        "the managed identity is not assigned, or nobody is signed in on a developer's machine",
        (
            "assign the managed identity to the app (AZURE_CLIENT_ID names it), "
            "or sign in with `az login` on a developer's machine"
        ),
        NEVER,
    )
    IDENTITY_DENIED = (
        "identity-denied",
        Area.SERVERS,
        "the identity endpoint answered and gave no token; its status follows",
        "check AZURE_CLIENT_ID, and that the identity is assigned to the app",
        NEVER,
    )
    IDENTITY_UNAVAILABLE = (
        "identity-unavailable",
        Area.SERVERS,
        "the identity endpoint did not answer, or failed; its status follows, if it has one",
        "restart the app if it stays so",
        NEVER,
    )
    IDENTITY_ANSWER = (
        "identity-answer",
        Area.SERVERS,
        "what answers at IDENTITY_ENDPOINT is no identity endpoint: a page, a proxy in between",
        (
            "remove IDENTITY_ENDPOINT from the app's settings if somebody set it: the platform "
            "sets it; restart the app if it stays so"
        ),
        NEVER,
    )
    TOPIC_DENIED = (
        "topic-denied",
        Area.SERVERS,
        "Event Grid refuses to publish: a grant is missing",
        "grant the app's identity EventGrid Data Sender on the topic",
        NEVER,
    )
    TOPIC_FIREWALL = (
        "topic-firewall",
        Area.SERVERS,
        (
            "the topic's firewall does not know the address that the app comes from; no grant is "
            "missing"
        ),
        (
            "allow the app's address in the topic's network rules, or give the topic a private "
            "endpoint"
        ),
        NEVER,
    )
    TOPIC_TOKEN = (
        "topic-token-refused",
        Area.SERVERS,
        "Event Grid does not accept the app's token: the topic is of another tenant or cloud",
        "correct ROTATION_TOPIC_ENDPOINT or ROTATION_CLOUD",
        NEVER,
    )
    TOPIC_MISSING = (
        "topic-missing",
        Area.SERVERS,
        "there is no such topic",
        "check ROTATION_TOPIC_ENDPOINT",
        NEVER,
    )
    TOPIC_UNAVAILABLE = (
        "topic-unavailable",
        Area.SERVERS,
        "the topic did not answer",
        "announcements wait for a week, rotations do not",
        NEVER,
    )
    TOPIC_ERROR = (
        "topic-error",
        Area.SERVERS,
        "the topic did not accept the event; its status follows",
        "report it",
        NEVER,
    )

    METRICS_UNAVAILABLE = (
        "metrics-unavailable",
        Area.SERVERS,
        "the source of a condition's value did not answer",
        "see whether it runs, and whether the app reaches it",
        NEVER,
    )
    METRICS_DENIED = (
        "metrics-denied",
        Area.SERVERS,
        "the source of a condition's value does not accept the token, or there is none",
        (
            "of Azure Monitor, grant the app's identity Monitoring Data Reader on the Azure "
            "Monitor workspace, or Log Analytics Reader on the Log Analytics one; of another "
            "server, renew the file of `token`"
        ),
        NEVER,
    )
    METRICS_QUERY = (
        "metrics-query",
        Area.SERVERS,
        "the source of a condition's value does not take the query, or answers with no number",
        "try the query there, and correct it",
        NEVER,
    )
    METRICS_TOKEN = (
        "metrics-token-missing",
        Area.SERVERS,
        "there is no file with the token that a condition names",
        "set ROTATION_TOKENS to the folder that has it, as a file of one line",
        NEVER,
    )

    STORAGE_UNSET = (
        "storage-not-set",
        Area.SERVERS,
        (
            "the app knows no storage account of its own: finished rotations are known for as long "
            "as the task hub keeps them"
        ),
        (
            "set ROTATION_STORAGE to the blob endpoint of an account, or "
            "AzureWebJobsStorage__blobServiceUri as the Functions host has it"
        ),
        NEVER,
    )
    STORAGE_DENIED = (
        "storage-denied",
        Area.SERVERS,
        (
            "the app's storage account refuses: a grant is missing, or its condition leaves a "
            "container out"
        ),
        (
            "grant the app's identity Storage Blob Data Owner on the account, with the containers "
            "in the condition: `infra/modules/grants.bicep`"
        ),
        NEVER,
    )
    STORAGE_FIREWALL = (
        "storage-firewall",
        Area.SERVERS,
        (
            "the storage account's firewall does not know the address that the app comes from; no "
            "grant is missing"
        ),
        (
            "allow the app's subnet in the account's network rules, or give the account a private "
            "endpoint"
        ),
        NEVER,
    )
    STORAGE_TOKEN = (
        "storage-token-refused",
        Area.SERVERS,
        (
            "the storage account does not accept the app's token or key: it is of another tenant, "
            "or the key was rotated"
        ),
        "correct ROTATION_STORAGE, or the AzureWebJobsStorage settings",
        NEVER,
    )
    STORAGE_MISSING = (
        "storage-missing",
        Area.SERVERS,
        "there is no such storage account, or its container is being deleted",
        "check ROTATION_STORAGE, or the AzureWebJobsStorage settings",
        NEVER,
    )
    STORAGE_UNAVAILABLE = (
        "storage-unavailable",
        Area.SERVERS,
        "the app's storage account did not answer",
        "rotations go on without it, and the next sweep keeps what is not kept yet",
        NEVER,
    )
    STORAGE_ERROR = (
        "storage-error",
        Area.SERVERS,
        "the storage account did not accept the request; its status and code follow",
        "look the code up in Blob Storage's list of error codes",
        NEVER,
    )

    CUT_OFF = (
        "cut-off",
        Area.APP,
        "the app died in the middle of a step (timeout, crash or scale-in), again and again",
        "see its log; give it more memory",
        NEVER,
    )
    HUB_UNAVAILABLE = (
        "task-hub-unavailable",
        Area.APP,
        "Azure Storage, or the Durable Task Scheduler, did not answer the app",
        "try again: rotations go on by themselves, and the answer says if a decision is in doubt",
        NEVER,
    )
    UNEXPECTED = (
        "unexpected",
        Area.APP,
        "a fault of the app; the log line `step.unexpected` or `http.unexpected` says where",
        "report it",
        NEVER,
    )
    ENDED_OUTSIDE = (
        "ended-from-outside",
        Area.APP,
        "somebody terminated the orchestration, or the engine failed it; nothing was undone",
        "[look](#look), then start a rotation or tidy up by hand",
        NEVER,
    )
    UNREADABLE = (
        "record-unreadable",
        Area.APP,
        "the record was written by a release that this one does not understand",
        "read it in the task hub; [look](#look)",
        NEVER,
    )
    NO_TOPIC = (
        "topic-not-set",
        Area.APP,
        "the topic was taken away: announcements wait for a week, rotations do not",
        "set ROTATION_TOPIC_ENDPOINT again",
        NEVER,
    )
    ABORT_FAILED = (
        "taking-down-failed",
        Area.APP,
        "aborted before the swap, and then the clean-up failed; production is untouched",
        "the cause away, then [take the standby slot down](#take-a-slot-down), or start a rotation",
        NEVER,
    )
    ROLLING_BACK_FAILED = (
        "rolling-back-failed",
        Area.APP,
        "the way back failed: each workload is on the slot that its Service selects",
        "[look](#look), decide for one slot, [move traffic](#move-traffic) of the others",
        NEVER,
    )

    BAD_REQUEST = (
        "request-invalid",
        Area.REQUESTS,
        "a field is missing, too long, of the wrong type, or not known; `field` names it",
        "correct the field",
        NEVER,
    )
    TOO_LARGE = ("request-too-large", Area.REQUESTS, "the body is too large", "send less", NEVER)
    MEDIA_TYPE = (
        "media-type",
        Area.REQUESTS,
        "the body is of another kind; other sites can make a browser send some of those",
        "send application/json to the API; the page sends its form by itself",
        NEVER,
    )
    UNKNOWN_CREDENTIAL = (
        "unknown-credential",
        Area.REQUESTS,
        "`credentials.yaml` has no such credential, or has it and whoever asks does not see it",
        "`GET /api/credentials` lists them",
        NEVER,
    )
    UNKNOWN_ROTATION = (
        "unknown-rotation",
        Area.REQUESTS,
        "there is none of this id, it ended more than 30 days ago, or whoever asks does not see it",
        "`GET /api/rotations` lists them",
        NEVER,
    )
    UNKNOWN_PAGE = (
        "unknown-page",
        Area.REQUESTS,
        "the overview has fewer pages",
        "go to page 1",
        NEVER,
    )
    BUSY = (
        "busy",
        Area.REQUESTS,
        "the credential has another rotation under way",
        "wait for it; `rotation` names it",
        NEVER,
    )
    NOT_WAITING = (
        "not-waiting",
        Area.REQUESTS,
        "the rotation does not wait for a decision (any more), or the decision did not count",
        "read its record",
        NEVER,
    )
    OTHER_GATE = (
        "other-gate",
        Area.REQUESTS,
        "the rotation waits for another decision than the one that this is",
        "look at the rotation, and decide on what it asks now",
        NEVER,
    )
    ALREADY_DECIDED = (
        "already-decided",
        Area.REQUESTS,
        "somebody else's decision was first: one counts",
        "read `decision`",
        NEVER,
    )
    NOT_CANCELLABLE = (
        "not-cancellable",
        Area.REQUESTS,
        (
            "it has ended, is being aborted, or its swap has begun; or it began under a release "
            "that could not be told to stop"
        ),
        "after the swap an approver can reject it, which goes back",
        NEVER,
    )
    CUT_BY_KEY = (
        "cut-needs-sign-in",
        Area.REQUESTS,
        (
            "`cut: first` ends the login that serves, and is for an approver who has signed in: "
            "never for a function key, an application or a link"
        ),
        (
            "sign in and call it again; `cut: after` can be asked for with a key, in an approver's "
            "name"
        ),
        NEVER,
    )
    INCIDENT_OFF = (
        "incident-off",
        Area.REQUESTS,
        "`cut: first` is off: the credential does not say `incident: allowed` in credentials.yaml",
        (
            "`cut: after` replaces the password at once, without an outage; its owner can allow "
            "the other: [configuration.md](configuration.md#a-credential)"
        ),
        NEVER,
    )
    NAME_NOT_REPEATED = (
        "name-not-repeated",
        Area.REQUESTS,
        "what is to be cut is named twice, and the second name is missing or another one",
        "say it again in `confirmCredential`, or of a whole server in `confirmServer`",
        NEVER,
    )
    WHICH_LEAKED = (
        "which-slot-leaked",
        Area.REQUESTS,
        "both slots' logins work just now, and an incident must know which password has leaked",
        "name it in `slot`, or its role in `role`",
        NEVER,
    )
    NOT_RETRIED = (
        "not-retried",
        Area.REQUESTS,
        "only what ended aborted, refused, rolled back or needs-attention is started again",
        "wait for its end; or `POST /api/rotations`, which asks for another one",
        NEVER,
    )
    NOT_ALLOWED = (
        "not-allowed",
        Area.REQUESTS,
        "whoever asks may not do this, or may not speak for somebody else",
        "ask one of those who may: the text says who, or the credential's lists do",
        NEVER,
    )
    NOT_WAIVABLE = (
        "not-waivable",
        Area.REQUESTS,
        "a rotation cannot do without what `waive` names, or it would break what is promised",
        "mend it: the code's own row says how; the problem's text lists what can be waived",
        NEVER,
    )
    NOT_SIGNED_IN = (
        "not-signed-in",
        Area.REQUESTS,
        "the platform's sign-in names nobody, or is not in force",
        "sign in; turn on App Service authentication, or set ROTATION_SIGN_IN to links",
        NEVER,
    )
    LINK_INVALID = (
        "link-invalid",
        Area.REQUESTS,
        "the signed link is cut off, forged, or its key was withdrawn; or the app takes none",
        "open it from the mail again",
        NEVER,
    )
    LINKS_UNAVAILABLE = (
        "links-unavailable",
        Area.REQUESTS,
        "the key that signs links cannot be read; the log line `links.unavailable` says why",
        "try again in a minute",
        NEVER,
    )
    FORM_FOREIGN = (
        "form-foreign",
        Area.REQUESTS,
        "a page of another site sent the form or request",
        "open the page and decide there; a program sends no Origin, Referer or Sec-Fetch-Site",
        NEVER,
    )


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why something failed or was not done.

    `text` says so for people, with the non-secret value, and `remedy` what to do about it.
    `code` is a `Code`, or a text that another release had. Where it is about one object, `object`
    is its kind and name, and `command` mends it if one does: see `commands`.
    """

    code: str
    text: str
    remedy: str = ""
    object: str = ""
    command: str = ""


CODES = {str(code): code for code in Code}
WAIVABLE = tuple(code for code in Code if code.waived is not NEVER)


def why_not_waived(code: str) -> str | None:
    """Why a code cannot be waived, with those that can be; None if it can be."""
    if code in WAIVABLE:
        return None
    can = f"what can be: {', '.join(sorted(WAIVABLE))}"
    if code in CODES:
        return f"{code} cannot be waived; {can}"
    return f"{code[:80]!r} is no code of a reason; {can}"


def reason(code: Code, text: str) -> Reason:
    """The reason of a code, with the remedy that the catalogue has for it."""
    return Reason(str(code), text, code.remedy)


# What stands in the way of other rotations since the login that serves is wrong, and in that of no
# incident which ends that login first.
OF_A_CUT: Final = (
    Code.ROLE_NOLOGIN,
    Code.VERSION_DISABLED,
    Code.ACTIVE_UNHEALTHY,
    Code.ACTIVE_DOWN,
)
