"""The moves in the cluster: blue takes over, green stands by, the app gets its rights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rotctl.adopt import forms, in_place_moves, login, moves, route_moves, telling, twin
from rotctl.adopt.original import name_of
from rotctl.adopt.plan import LABEL, SLOTS
from rotctl.adopt.shell import (
    behind,
    field,
    file,
    follows,
    follows_none,
    kind,
    kubectl,
    named,
    none,
    on_green,
    quoted,
    ready,
    says,
    says_not,
    services,
    slot_of,
    some,
    there,
    there_is,
    unless,
    when,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan, Workload

HAND_OVER = "git/hand-over.sh"
RENDERED = "--post-renderer git/post-render.sh"
OWNER = "credential-rotation"  # the field manager that hand-over.sh gives the fields to
GUARD = "credential-rotation/guard"
EITHER = f"grep -Ex '{'|'.join(SLOTS)}'"


def of(workload: Workload, plan: Plan) -> list[Move]:
    if workload.in_place:
        return in_place_moves.of(workload, plan)
    delivered = [] if workload.carrier.mounted else [_secrets(workload, plan)]
    if workload.scheduled:
        return [*delivered, _pair(workload, plan)]
    if workload.routes:
        moved = [_blue(workload, plan), route_moves.traffic(workload), _old(workload)]
        return [*delivered, *moved, route_moves.green(workload, plan)]
    traffic = [_traffic(workload)] if workload.called else []
    return [*delivered, _blue(workload, plan), *traffic, _old(workload), _green(workload, plan)]


def applied(plan: Plan) -> str:
    """What makes objects that Git has later. Those of a release are Helm's from the beginning:
    Helm 4 applies on the server, where it would find each field that kubectl has set taken."""
    owned = " --server-side --field-manager=helm" if plan.form == "helm" else ""
    return f"kubectl apply{owned}"


def _secrets(workload: Workload, plan: Plan) -> Move:
    """The live password, from Key Vault into the Secret that the blue slot's pods read."""
    live, key = plan.credential.slots["blue"].secret, workload.carrier.key
    call, blue, green = kubectl(workload), *(login.kube_secret(workload, one) for one in SLOTS)
    return moves.Move(
        f"A Secret for each slot of {workload.name}",
        f"The blue slot's gets what Key Vault has in {live}. If Key Vault has not got the live"
        " password yet, it is put there first, from the Secret"
        f" {workload.carrier.kube_secret}.",
        (
            *put_live(workload, plan),
            f"kubectl apply -f {file(workload, 'secrets')}",
            *filled(workload, plan, blue, key),
        ),
        (
            f"{call} get secret {green} -o name",
            f"{call} get secret {blue} {path(key)} | grep -q .",
        ),
        "both are there, and the blue one is not empty",
        (f"{call} delete -f {file(workload, 'secrets')} --ignore-not-found",),
        "Before its pods are there. Then first the next move's way back.",
        name=f"{workload.name}-secrets",
    )


def put_live(workload: Workload, plan: Plan) -> tuple[str, ...]:
    """Sees to it that Key Vault has the live value, if pods read it from a Secret."""
    carrier, held = workload.carrier, named(plan, plan.credential.slots["blue"].secret)
    if carrier.mounted:
        return ()
    read = f"{kubectl(workload)} get secret {quoted(carrier.kube_secret)} {path(carrier.key)}"
    put = f"az keyvault secret set {held} --file live.value --output none"
    return (
        "umask 077",
        f"held=$({there(plan, plan.credential.slots['blue'].secret)})",
        'if [ "$held" = 0 ]; then',
        f"  {read} | base64 --decode > live.value",
        # Never an empty version, whatever it was that failed, and whoever types it.
        f"  test -s live.value && {put} || false",
        "fi",
    )


def filled(workload: Workload, plan: Plan, secret: str, key: str) -> tuple[str, ...]:
    """Writes what Key Vault has for the live login under a key of a Kubernetes Secret, without
    showing it."""
    held = named(plan, plan.credential.slots["blue"].secret)
    body = quoted(f'{{"data": {{"{key}": "%s"}}}}')
    return (
        "umask 077",
        "rm -f live.value",
        f"az keyvault secret download {held} --file live.value",
        "test -s live.value",
        # Inside another command's words a failure would be an empty password.
        "encoded=$(base64 < live.value | tr -d '\\n')",
        f'printf {body} "$encoded" |',
        f"  {kubectl(workload)} patch secret {secret} --type=merge --patch-file=/dev/stdin",
        "rm live.value",
    )


def path(key: str) -> str:
    """Of a Secret's key, for kubectl."""
    escaped = key.replace(".", "\\.")
    return f"-o jsonpath={quoted(f'{{.data.{escaped}}}')}"


def _blue(workload: Workload, plan: Plan) -> Move:
    call, blue = kubectl(workload), workload.at(SLOTS[0])
    scaled = telling.autoscalers(workload.original)
    why = (
        f"A Deployment's selector cannot be changed, so {workload.name} is not altered: {blue} is"
        " made beside it, with the same image, role and password."
    )
    if workload.called:
        why += f" Service {workload.service} finds its pods as soon as they are ready."
    if scaled:
        why += " Each slot has an autoscaler of its own; the old one goes with the old pods."
    return moves.Move(
        f"{blue} beside {workload.name}",
        why,
        (
            # What traffic follows a rotation has changed since: it is never applied again.
            *follows_none(workload),
            f"{applied(plan)} -f {file(workload, SLOTS[0])}",
        ),
        (
            f"{call} rollout status deployment/{blue} --timeout=5m",
            # Later, while the other slot serves, it has none.
            f"{on_green(workload)} || {some(ready(workload, blue))}",
        ),
        "`successfully rolled out`: its pods are ready, so that they have logged in",
        (
            *follows_none(workload),
            # The only pods that there are?
            some(ready(workload, workload.name)),
            f"kubectl delete -f {file(workload, SLOTS[0])} --ignore-not-found",
        ),
        "Once traffic follows the slot: first the next move's way back.",
        name=blue,
    )


def _traffic(workload: Workload) -> Move:
    blue = workload.at(SLOTS[0])
    on = quoted(json.dumps([{"op": "add", "path": f"/spec/selector/{LABEL}", "value": SLOTS[0]}]))
    patch = f"{kubectl(workload)} patch service"
    return moves.Move(
        f"Traffic of {workload.name} follows the slot",
        f"New connections go to {blue} alone; those that are open stay with the old pods until"
        " these end them.",
        (
            some(ready(workload, blue)),
            *(
                line
                for one in services(workload)
                for line in unless(slot_of(workload, one), f"{patch} {one} --type=json -p {on}")
            ),
        ),
        tuple(line for one in services(workload) for line in _behind_slot(workload, one)),
        f"a slot in each Service's selector, and behind it that slot's pods ({blue}) and no others",
        (
            # Blue's pods are found without the slot too; if they end, these must be there.
            some(ready(workload, workload.name)),
            *off(workload),
        ),
        name=f"{workload.name}-traffic",
    )


def _behind_slot(workload: Workload, service: str) -> tuple[str, ...]:
    pods = behind(workload, service)
    return (
        f"slot=$({slot_of(workload, service)})",
        f'echo "$slot" | {EITHER}',
        f'{pods} | grep "^{workload.name}-$slot-"',
        f'{pods} | (! grep -v "^{workload.name}-$slot-") || false',
    )


def off(workload: Workload) -> tuple[str, ...]:
    """Takes the slot out of the selectors that have one."""
    patch = quoted(json.dumps([{"op": "remove", "path": f"/spec/selector/{LABEL}"}]))
    call = f"{kubectl(workload)} patch service"
    return tuple(
        line
        for one in services(workload)
        for line in when(slot_of(workload, one), f"{call} {one} --type=json -p {patch}")
    )


def _old(workload: Workload) -> Move:
    call, blue = kubectl(workload), workload.at(SLOTS[0])
    scaled = telling.autoscalers(workload.original)
    budgets = telling.adopted_budgets(workload.original)
    gone = [f"hpa {name_of(one)}" for one in scaled]
    counted = [f"poddisruptionbudget {name_of(one)}" for one in budgets]
    serves = [some(ready(workload, blue))]
    if workload.called:
        found = workload.backend(SLOTS[0]) if workload.routes else workload.service
        serves += [
            *(follows(workload) if workload.routes else (says(slot_of(workload), SLOTS[0]),)),
            f'{behind(workload, found)} | grep "^{blue}-"',
        ]
    selector = quoted(
        ",".join([*(f"{k}={v}" for k, v in workload.original.labels.items()), f"!{LABEL}"])
    )
    return moves.Move(
        f"The pods of {workload.name} end",
        "Each serves what it has to its end. From here on its manifest must not be applied again:"
        " pause what does, and change it in the move about Git.",
        (
            *serves,
            *(f"{call} delete {one} --ignore-not-found" for one in gone),
            *when(
                there_is(workload, f"deployment {workload.name}"), *ended(workload, workload.name)
            ),
            *(f"{call} delete {one} --ignore-not-found" for one in counted),
        ),
        (
            none(there_is(workload, f"deployment {workload.name}")),
            none(f"{call} get pods -l {selector} -o name"),
        ),
        "it is gone, and so are its pods",
        (f"kubectl apply -f kubernetes/undo/{workload.name}.yaml",),
        "Then the way back of the moves before.",
        name=f"{workload.name}-old-pods",
    )


def ended(workload: Workload, name: str) -> tuple[str, ...]:
    call = kubectl(workload)
    return (
        f"{call} scale deployment/{name} --replicas=0",
        f"{call} delete deployment {name} --cascade=foreground --timeout=5m",
    )


def _green(workload: Workload, plan: Plan) -> Move:
    call, green = kubectl(workload), workload.at(SLOTS[1])
    made = (
        f"its preview {workload.preview}"
        if workload.called
        else f"the switch, Service {workload.service}"
    )
    return moves.Move(
        f"{green} stands by, and {made}",
        "It has no pods. A rotation gives it as many as the active slot has.",
        (
            # What serves is never applied again.
            says_not(slot_of(workload), SLOTS[1]),
            f"{applied(plan)} -f {file(workload, SLOTS[1])}",
        ),
        (
            f"{call} get deployment {green}",
            f"{slot_of(workload, workload.preview)} | {EITHER}",
        ),
        f"it is there, with `0/0` pods until a rotation; the Service selects"
        f" {SLOTS[1] if workload.called else SLOTS[0]}",
        (
            says_not(slot_of(workload), SLOTS[1]),
            f"kubectl delete -f {file(workload, SLOTS[1])} --ignore-not-found",
        ),
        name=green,
    )


def _pair(workload: Workload, plan: Plan) -> Move:
    call, old = kubectl(workload), workload.name
    both = f"-f {file(workload, SLOTS[0])} -f {file(workload, SLOTS[1])}"
    shown = r"""'{range .items[*]}{.spec.suspend}{"\n"}{end}'"""
    blue, green = (workload.at(slot) for slot in SLOTS)
    return moves.Move(
        f"A pair of CronJobs in the place of {old}",
        "The old one is suspended before the blue one is there, so that no run is done twice. A"
        " run that falls into the seconds between is left out: choose a minute without one.",
        (
            says_not(slot_of(workload), SLOTS[1]),
            *when(there_is(workload, f"cronjob {old}"), suspend(workload, old, "true")),
            f"{applied(plan)} {both}",
        ),
        (
            *when(
                there_is(workload, f"cronjob {old}"),
                f"{field(workload, f'cronjob {old}', '.spec.suspend')} | grep -qx true",
            ),
            f"{call} get cronjobs {blue} {green} -o jsonpath={shown} | sort",
        ),
        f"one of the pair runs ({blue}), the other is suspended, and so is {old}",
        (
            says_not(slot_of(workload), SLOTS[1]),
            # What runs now runs to its end.
            f"kubectl delete {both} --ignore-not-found --cascade=orphan",
            *unless(
                there_is(workload, f"cronjob {old}"), f"kubectl apply -f kubernetes/undo/{old}.yaml"
            ),
            suspend(workload, old, "false"),
        ),
        name=f"{old}-pair",
        answer="false\ntrue",
        by_hand=f"Delete {old} once its last Job has ended:"
        f" `{call} delete cronjob {old}`. Whoever stays undecided may leave it suspended.",
    )


def suspend(workload: Workload, name: str, word: str) -> str:
    body = quoted(f'{{"spec": {{"suspend": {word}}}}}')
    return f"{kubectl(workload)} patch cronjob {name} --type=merge -p {body}"


def spaces(plan: Plan) -> list[str]:
    return sorted({one.namespace for one in plan.workloads})


def shared(plan: Plan) -> list[Move]:
    return [_rights(plan), _guard(plan)]


def _rights(plan: Plan) -> Move:
    return moves.Move(
        "The app's rights",
        "They name the objects. What the app then still lacks, `rotctl doctor` says once"
        " credentials.yaml is deployed.",
        ("kubectl apply -f kubernetes/rights.yaml",),
        tuple(
            line
            for one in plan.workloads
            for line in (
                f"{kubectl(one)} get role {_role(one)} -o name",
                f"{field(one, f'rolebinding {_role(one)}', '.subjects[*].name')} |",
                f"  grep -w -e {quoted(plan.app_identity)}",
            )
        ),
        f"the Role, and {plan.app_identity} in its RoleBinding",
        ("kubectl delete -f kubernetes/rights.yaml --ignore-not-found",),
        name="rights",
    )


def _guard(plan: Plan) -> Move:
    named = [f"kubectl label namespace {quoted(one)}" for one in spaces(plan)]
    return moves.Move(
        "The guard",
        "A right to patch an object is a right to change all of it; the guard limits the app to"
        " what a rotation needs, and keeps everybody else from moving traffic between slots. A"
        " cluster administrator installs it, once for a cluster (Kubernetes 1.30 or newer). If"
        " it is there already, only label."
        + (
            ""
            if plan.break_glass
            else " Put the group of those who may move traffic by hand into it first:"
            " `breakGlass` names one that is nobody's."
        ),
        (
            "kubectl apply -f kubernetes/guard.yaml",
            *(f"{one} --overwrite {GUARD}=on" for one in named),
        ),
        tuple(f"{guarded(one)} | grep -x on" for one in spaces(plan)),
        f"the label on {', '.join(spaces(plan))}",
        tuple(f"{one} {GUARD}-" for one in named),
        name="guard",
    )


def guarded(space: str) -> str:
    """Reads a namespace's label, which whoever administers it may."""
    shown = quoted(f"{{.metadata.labels.{GUARD}}}")
    return f"kubectl get namespace {quoted(space)} -o jsonpath={shown}"


def _role(workload: Workload) -> str:
    return f"credential-rotation-{workload.name}"


def git(plan: Plan) -> Move:
    """The fields that rotations own leave Git, after they have got another owner."""
    handed = tuple(
        f"sh {HAND_OVER} {quoted(one.namespace)} {handed_of(one)}"
        for one in plan.workloads
        if not one.in_place
    )
    helm = plan.form == "helm"
    return moves.Move(
        "Git",
        _PAUSED,
        _released(plan, handed) if helm else handed,
        tuple(line for one in plan.workloads for line in _handed_over(one)),
        "; ".join(_expected(plan)),
        (),
        "Put the manifests of before back, and hand over again (docs/gitops.md).",
        name="git",
        by_hand=_GIT[plan.form] + _routed(plan),
        needs=("RELEASE", "CHART") if helm else (),
    )


def _handed_over(workload: Workload) -> tuple[str, ...]:
    if workload.in_place:
        return (in_place_moves.reads_it(workload),)
    return tuple(
        f"{kubectl(workload)} get {each} --show-managed-fields"
        f" -o jsonpath='{{.metadata.managedFields[*].manager}}' | grep -w {OWNER}"
        for each in handed_of(workload).split()
    )


def _expected(plan: Plan) -> Iterator[str]:
    if any(not one.in_place for one in plan.workloads):
        yield (
            f"{OWNER} among the managers of each object. What Git has then changes no selector, no"
            f" replicas and no `suspend`: `{_shown(plan)}` says so"
        )
    for one in plan.workloads:
        if one.in_place:
            yield f"{one.name} reads its own Secret, after a sync of your tool as well"


def _routed(plan: Plan) -> str:
    names = ", ".join(name for one in plan.workloads for name in one.routes)
    if not names:
        return ""
    return (
        f" HTTPRoute {names} leaves your repository, or stays there with its weights left alone by"
        " your tool (docs/gitops.md, weights)."
    )


def handed_of(workload: Workload) -> str:
    """The objects with fields that are a rotation's, but for HTTPRoutes, which leave Git."""
    moving = [workload.service, *workload.services, workload.preview]
    parts = [f"service/{name}" for name in moving if name and not workload.routes]
    return " ".join([*parts, *(f"{kind(workload)}/{workload.at(slot)}" for slot in SLOTS)])


def _released(plan: Plan, handed: tuple[str, ...]) -> tuple[str, ...]:
    """Helm keeps in its release what it has set. It forgets the Services once, and takes what the
    moves have made as its own."""
    first, twins = plan.workloads[0], [one for one in plan.workloads if not one.in_place]
    call, space = kubectl(first), quoted(first.namespace)
    kept = " ".join(f"service/{name_of(one)}" for w in plan.workloads for one in twin.moving(w))
    own = [one for w in twins for one in forms.objects(w, plan)]
    moving = {name_of(one) for w in plan.workloads for one in twin.moving(w)}
    made = " ".join(
        f"{one['kind'].lower()}/{name_of(one)}"
        for one in own
        if one["kind"] != "Service" or name_of(one) not in moving
    )
    upgrade = f'helm upgrade "$RELEASE" "$CHART" -n {space} --reuse-values {RENDERED}'
    release = f'meta.helm.sh/release-name="$RELEASE" meta.helm.sh/release-namespace={space}'
    keep = (f"{call} annotate --overwrite {kept} helm.sh/resource-policy=keep",) if kept else ()
    if not twins:
        return (upgrade,)
    return (
        *keep,
        *handed,
        f"{call} annotate --overwrite {made} {release}",
        f"{call} label --overwrite {made} app.kubernetes.io/managed-by=Helm",
        f"HAND_OVER=on {upgrade}",
        upgrade,
    )


_PAUSED = (
    "Selectors of Services, replicas of Deployments and `suspend` of CronJobs belong to rotations."
    " A tool that has set a field, and finds it no longer in its manifest, removes it: so they get"
    " another owner first, while the sync of your tool is paused (docs/gitops.md)."
)
_GIT = {
    "manifests": "Commit `git/*.yaml` in the place of what your repository has of these objects,"
    " take out what the moves have deleted, and let the tool sync.",
    "kustomize": "Commit the folder `git` as the overlay that is applied. It has the base twice,"
    " once for each slot: a release changes the base, and both slots by one commit.",
    "helm": "From now on the release is rendered through `git/post-render.sh`, which makes two"
    " slots of what the chart has: no value of it changes. RELEASE and CHART are its name and its"
    " chart. With Helm 4 install it as a plugin first (`helm plugin install git`) and write"
    " `--post-renderer two-slots`.",
}


def _shown(plan: Plan) -> str:
    if plan.form == "helm":
        return f'helm get manifest "$RELEASE" -n {plan.workloads[0].namespace} | kubectl diff -f -'
    if plan.form == "kustomize":
        return "kubectl diff -k git"
    return "; ".join(f"kubectl diff -f git/{one.name}.yaml" for one in plan.workloads)
