"""The moves in the cluster: blue takes over, green stands by, the app gets its rights."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from rotctl.adopt import forms, in_place_moves, login, moves, route_moves, telling, twin
from rotctl.adopt.original import name_of
from rotctl.adopt.plan import LABEL, SLOTS

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan, Workload

HAND_OVER = "git/hand-over.sh"
RENDERED = "--post-renderer git/post-render.sh"


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


def kubectl(workload: Workload) -> str:
    return f"kubectl -n {shlex.quote(workload.namespace)}"


def applied(plan: Plan) -> str:
    """What makes objects that Git has later. Those of a release are Helm's from the beginning:
    Helm 4 applies on the server, where it would find each field that kubectl has set taken."""
    owned = " --server-side --field-manager=helm" if plan.form == "helm" else ""
    return f"kubectl apply{owned}"


def _file(workload: Workload, what: str) -> str:
    return f"kubernetes/{workload.name}-{what}.yaml"


def _secrets(workload: Workload, plan: Plan) -> Move:
    """The live password, from Key Vault into the Secret that the blue slot's pods read."""
    live, key = plan.credential.slots["blue"].secret, workload.carrier.key
    call, blue = kubectl(workload), login.kube_secret(workload, SLOTS[0])
    return moves.Move(
        f"A Secret for each slot of {workload.name}",
        f"The blue slot's gets what Key Vault has in {live}. If Key Vault has not got the live"
        " password yet, the second line puts it there, from the Secret"
        f" {workload.carrier.kube_secret}.",
        (
            *put_live(workload, plan),
            f"kubectl apply -f {_file(workload, 'secrets')}",
            *filled(workload, plan, blue, key),
        ),
        (f"{call} get secret {blue} {path(key)} | wc -c",),
        "more than 0",
        (f"{call} delete -f {_file(workload, 'secrets')}",),
        "Before its pods are there. Then first the next move's way back.",
    )


def _live(plan: Plan) -> str:
    secret = plan.credential.slots["blue"].secret
    return f"--vault-name {shlex.quote(moves.vault_name(plan))} --name {shlex.quote(secret)}"


def put_live(workload: Workload, plan: Plan) -> tuple[str, ...]:
    """Lines that see to it that Key Vault has the live value, if pods read it from a Secret."""
    carrier = workload.carrier
    if carrier.mounted:
        return ("umask 077",)
    held = f"{kubectl(workload)} get secret {shlex.quote(carrier.kube_secret)} {path(carrier.key)}"
    put = f"az keyvault secret set {_live(plan)} --file live.value --output none"
    return (
        "umask 077",
        f"az keyvault secret show {_live(plan)} --output none || {{",
        f"  {held} | base64 -d > live.value",
        # Never an empty version, whatever it was that failed.
        f"  test -s live.value && {put}; }}",
    )


def filled(workload: Workload, plan: Plan, secret: str, key: str) -> tuple[str, ...]:
    """Lines that write the live value, as Key Vault has it, into a Secret under a key."""
    body = f'{{"data": {{"{key}": "%s"}}}}'
    return (
        "rm -f live.value",
        f"az keyvault secret download {_live(plan)} --file live.value",
        f"printf {shlex.quote(body)} \"$(base64 < live.value | tr -d '\\n')\" |",
        f"  {kubectl(workload)} patch secret {secret} --type=merge --patch-file=/dev/stdin",
        "rm live.value",
    )


def path(key: str) -> str:
    """Of a Secret's key, for kubectl."""
    escaped = key.replace(".", "\\.")
    return f"-o jsonpath={shlex.quote(f'{{.data.{escaped}}}')}"


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
        (f"{applied(plan)} -f {_file(workload, SLOTS[0])}",),
        (f"{call} rollout status deployment/{blue} --timeout=5m",),
        "`successfully rolled out`: its pods are ready, so that they have logged in",
        (f"kubectl delete -f {_file(workload, SLOTS[0])}",),
        "Once traffic follows the slot: first the next move's way back.",
    )


def _traffic(workload: Workload) -> Move:
    call = kubectl(workload)
    names = [workload.service, *workload.services]
    on = json.dumps([{"op": "add", "path": f"/spec/selector/{LABEL}", "value": SLOTS[0]}])
    off = json.dumps([{"op": "remove", "path": f"/spec/selector/{LABEL}"}])
    return moves.Move(
        f"Traffic of {workload.name} follows the slot",
        f"New connections go to {workload.at(SLOTS[0])} alone; those that are open stay with the"
        " old pods until these end them.",
        tuple(f"{call} patch service {one} --type=json -p {shlex.quote(on)}" for one in names),
        tuple(
            f"{call} get endpointslices -l kubernetes.io/service-name={one} -o wide"
            for one in names
        ),
        f"the addresses of the pods of {workload.at(SLOTS[0])}, and no others",
        tuple(f"{call} patch service {one} --type=json -p {shlex.quote(off)}" for one in names),
    )


def _old(workload: Workload) -> Move:
    call, scaled = kubectl(workload), telling.autoscalers(workload.original)
    budgets = telling.adopted_budgets(workload.original)
    gone = [f"hpa {name_of(one)}" for one in scaled]
    counted = [f"poddisruptionbudget {name_of(one)}" for one in budgets]
    selector = ",".join(f"{k}={v}" for k, v in workload.original.labels.items())
    return moves.Move(
        f"The pods of {workload.name} end",
        "Each serves what it has to its end. From here on its manifest must not be applied"
        " again: pause what does, and change it in the move about Git.",
        (
            *(f"{call} delete {one}" for one in gone),
            f"{call} scale deployment/{workload.name} --replicas=0",
            f"{call} delete deployment {workload.name} --cascade=foreground --timeout=5m",
            *(f"{call} delete {one}" for one in counted),
        ),
        (f"{call} get pods -l {shlex.quote(selector)} -L {LABEL}",),
        f"pods of {workload.at(SLOTS[0])} alone",
        (f"kubectl apply -f kubernetes/undo/{workload.name}.yaml",),
        "Then the way back of the moves before.",
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
        (f"{applied(plan)} -f {_file(workload, SLOTS[1])}",),
        (
            f"{call} get deployment {green}",
            f"{call} get service {workload.preview or workload.service} -o wide",
        ),
        f"`0/0` pods; the Service selects {LABEL}={SLOTS[1] if workload.called else SLOTS[0]}",
        (f"kubectl delete -f {_file(workload, SLOTS[1])}",),
    )


def _pair(workload: Workload, plan: Plan) -> Move:
    call = kubectl(workload)
    return moves.Move(
        f"A pair of CronJobs in the place of {workload.name}",
        "The old one is suspended before the blue one is there, so that no run is done twice. A"
        " run that falls into the seconds between is left out: choose a minute without one.",
        (
            _suspend(workload, "true"),
            f"{applied(plan)} -f {_file(workload, SLOTS[0])} -f {_file(workload, SLOTS[1])}",
        ),
        (f"{call} get cronjobs {workload.name} {workload.at(SLOTS[0])} {workload.at(SLOTS[1])}",),
        (
            f"SUSPEND false for {workload.at(SLOTS[0])} alone. Delete {workload.name} once its"
            " last Job has ended"
        ),
        (
            f"kubectl delete -f {_file(workload, SLOTS[0])} -f {_file(workload, SLOTS[1])}",
            _suspend(workload, "false"),
        ),
    )


def _suspend(workload: Workload, word: str) -> str:
    body = shlex.quote(f'{{"spec": {{"suspend": {word}}}}}')
    return f"{kubectl(workload)} patch cronjob {workload.name} --type=merge -p {body}"


def shared(plan: Plan) -> list[Move]:
    spaces = sorted({one.namespace for one in plan.workloads})
    labelled = [
        f"kubectl label namespace {shlex.quote(one)} credential-rotation/guard=on" for one in spaces
    ]
    rights = moves.Move(
        "The app's rights",
        "They name the objects. What the app then still lacks, `rotctl doctor` says once"
        " credentials.yaml is deployed.",
        ("kubectl apply -f kubernetes/rights.yaml",),
        tuple(
            f"kubectl auth can-i patch {_kind(one)}/{one.at(SLOTS[1])} -n"
            f" {shlex.quote(one.namespace)} --as {plan.app_identity}"
            for one in plan.workloads
        ),
        "`yes`",
        ("kubectl delete -f kubernetes/rights.yaml",),
    )
    guard = moves.Move(
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
        ("kubectl apply -f kubernetes/guard.yaml", *labelled),
        ("kubectl get namespaces -l credential-rotation/guard=on",),
        ", ".join(spaces),
        tuple(line.replace("=on", "-") for line in labelled),
    )
    return [rights, guard]


def _kind(workload: Workload) -> str:
    group = "batch" if workload.scheduled else "apps"
    return f"{workload.original.kind.lower()}s.{group}"


def git(plan: Plan) -> Move:
    """The fields that rotations own leave Git, after they have got another owner."""
    handed = tuple(
        f"{HAND_OVER} {shlex.quote(one.namespace)} {_handed(one)}"
        for one in plan.workloads
        if not one.in_place
    )
    return moves.Move(
        "Git",
        _PAUSED + _GIT[plan.form],
        _released(plan, handed) if plan.form == "helm" else handed,
        _shown(plan),
        "no change of a selector, of replicas or of suspend",
        (),
        "Put the manifests of before back, and hand over again (docs/gitops.md).",
    )


def _handed(workload: Workload) -> str:
    moving = [workload.service, *workload.services, workload.preview]
    services = [] if workload.routes else moving
    parts = [f"service/{name}" for name in services if name]
    kind = "cronjob" if workload.scheduled else "deployment"
    return " ".join([*parts, *(f"{kind}/{workload.at(slot)}" for slot in SLOTS)])


def _released(plan: Plan, handed: tuple[str, ...]) -> tuple[str, ...]:
    """Helm keeps in its release what it has set. It forgets the Services once, and takes what the
    moves have made as its own."""
    first, twins = plan.workloads[0], [one for one in plan.workloads if not one.in_place]
    call, space = kubectl(first), shlex.quote(first.namespace)
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
    keep = (f"{call} annotate {kept} helm.sh/resource-policy=keep",) if kept else ()
    if not twins:
        return (_YOURS, upgrade)
    return (
        _YOURS,
        *keep,
        *handed,
        f"{call} annotate {made} {release}",
        f"{call} label {made} app.kubernetes.io/managed-by=Helm",
        f"HAND_OVER=on {upgrade}",
        upgrade,
    )


_YOURS = "export RELEASE=orders CHART=oci://registry.example/charts/orders # your own"
_PAUSED = (
    "Selectors of Services, replicas of Deployments and `suspend` of CronJobs belong to rotations."
    " A tool that has set a field, and finds it no longer in its manifest, removes it: so they get"
    " another owner first, while the sync of your tool is paused (docs/gitops.md). "
)
_GIT = {
    "manifests": "Then commit `git/*.yaml` in the place of what your repository has of these"
    " objects, take out what the moves have deleted, and let the tool sync.",
    "kustomize": "Then commit the folder `git` as the overlay that is applied. It has the base"
    " twice, once for each slot: a release changes the base, and both slots by one commit.",
    "helm": "Then the release is rendered through `git/post-render.sh`, which makes two slots of"
    " what the chart has: no value of it changes. With Helm 4 install it as a plugin first"
    " (`helm plugin install git`) and write `--post-renderer two-slots`.",
}


def _shown(plan: Plan) -> tuple[str, ...]:
    if plan.form == "helm":
        return (
            f'helm get manifest "$RELEASE" -n {plan.workloads[0].namespace} | kubectl diff -f -',
        )
    if plan.form == "kustomize":
        return ("kubectl diff -k git",)
    return tuple(f"kubectl diff -f git/{one.name}.yaml" for one in plan.workloads)
