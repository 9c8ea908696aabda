"""The moves back to one slot, for a team that leaves, or that stopped half-way.

They begin in any world between the two: a move whose check passes has nothing to do. They lead
back to the blue slot, since its role and secret are those of before. The app loses its rights
first, so that nothing is rotated meanwhile; and nobody loses a login, or what they read with it,
before the last session that needs it has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotctl.adopt import in_place, in_place_moves, login, moves, route_moves, telling
from rotctl.adopt.cluster_moves import GUARD, ended, filled, guarded, off, path, spaces, suspend
from rotctl.adopt.database import literal
from rotctl.adopt.login_moves import (
    ACTS_AS_ITSELF,
    GREEN_GONE,
    OWNER_BACK,
    ROTATOR_GONE,
    SESSIONS,
    acting,
)
from rotctl.adopt.original import name_of
from rotctl.adopt.plan import SLOTS
from rotctl.adopt.shell import (
    ASKS,
    FORMER,
    MORE,
    SINCE,
    behind,
    field,
    file,
    files,
    follows,
    follows_none,
    holds,
    kind,
    kubectl,
    named,
    none,
    not_on_green,
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
    weights,
    when,
)

if TYPE_CHECKING:
    from rotctl.adopt.moves import Move
    from rotctl.adopt.plan import Plan, Workload

PAUSE = (
    "Until the last move its tool must not apply the manifests of the two slots: pause what does."
)
ALWAYS = "2020-01-01"  # of rotations: one may wait for a decision for as long as it likes
GOES_ON = "Go on to two slots again: `rotctl adopt --apply`."


def leading_back(plan: Plan) -> list[Move]:
    made = [_blue_serves(plan), _rights(plan), _guard(plan), _acts_as_itself(plan)]
    for each in plan.workloads:
        made += [] if each.carrier.mounted else [_secret(each, plan)]
        made += _led_back(each)
    deployed = [each for each in plan.workloads if not each.scheduled]
    return [
        *made,
        _rest(plan),
        _sessions(plan, deployed),
        _owner(plan),
        _green(plan),
        _rotator(plan),
        _secrets(plan),
        _policies(),
        _told(plan),
    ]


def _led_back(workload: Workload) -> list[Move]:
    if workload.in_place:
        return [in_place_moves.as_before(workload)]
    return _scheduled(workload) if workload.scheduled else _deployed(workload)


def _binding(workload: Workload) -> str:
    return there_is(workload, f"rolebinding credential-rotation-{workload.name}")


def _under_way(plan: Plan) -> tuple[str, ...]:
    """Fails while the app rotates the credential, cannot be asked, or is another app. Without
    rights in the cluster it rotates nothing."""
    name = plan.credential.name
    ask = f"rotctl list --rotations --credential {name} --since {ALWAYS} --json"
    return tuple(
        line
        for each in plan.workloads
        for line in when(
            _binding(each),
            "known=$(rotctl list --json)",
            # One that does not know the credential, although somebody has rotated it.
            f"""if ! echo "$known" | grep '"credential": "{name}"'; then""",
            f"  {_written_down(each)} | (! grep {in_place.NOTED[0]}) || false",
            "fi",
            f"""{ask} | (! grep '"outcome": null') || false""",
        )
    )


def _written_down(workload: Workload) -> str:
    """Lists what is noted in the object that each rotation changes."""
    what = (
        f"secret {in_place.secret_name(workload)}"
        if workload.in_place
        else f"{kind(workload)} {workload.at(SLOTS[1])}"
    )
    return field(workload, what, ".metadata.annotations")


def _blue_serves(plan: Plan) -> Move:
    name = plan.credential.name
    return moves.Move(
        "The blue slot serves, and nothing is rotated",
        "Its role and its secret are those of before, so that the way back begins there. If green"
        " serves, one more rotation leads to blue; one that is under way ends first.",
        (
            "serves=",
            *(line for each in plan.workloads for line in _noted(each)),
            # Where blue serves (by now), one more would lead away from it.
            'if [ -n "$serves" ]; then',
            f"  known=$(rotctl list --rotations --credential {name} --since {ALWAYS} --json)",
            # One that is under way has to end first.
            """  if ! echo "$known" | grep '"outcome": null'; then""",
            f"    rotctl start {name} --reason 'back to one slot, by blue'",
            "  fi",
            "fi",
        ),
        (
            *(line for each in plan.workloads for line in not_on_green(each)),
            *_under_way(plan),
        ),
        "nothing follows green, and the app has no rotation of it under way",
        (),
        GOES_ON,
        name="blue-serves",
        by_hand="The rotation is approved as any other (`rotctl approve"
        f" {name}`), or one that is under way is: it has to end first.",
    )


def _noted(workload: Workload) -> tuple[str, ...]:
    """Notes in `serves` that green does."""
    asks = [weights(workload, one) for one in workload.routes]
    if not asks:
        asks = [slot_of(workload, one) for one in services(workload)]
    if workload.in_place:
        asks = [holds(workload)]
    green = f"-wE {MORE}" if workload.routes else f"-x {SLOTS[1]}"
    return tuple(
        line
        for ask in asks
        for line in (
            f"found=$({ask})",
            f'if echo "$found" | grep -q {green}; then serves={SLOTS[1]}; fi',
        )
    )


def _rights(plan: Plan) -> Move:
    return moves.Move(
        "The app's rights go",
        "From here on it rotates nothing here.",
        (*_under_way(plan), "kubectl delete -f kubernetes/rights.yaml --ignore-not-found"),
        tuple(none(_binding(each)) for each in plan.workloads),
        "no RoleBinding",
        ("kubectl apply -f kubernetes/rights.yaml",),
        GOES_ON,
        name="rights",
    )


def _guard(plan: Plan) -> Move:
    each = [_unguarded(space) for space in spaces(plan)]
    return moves.Move(
        "The guard lets go",
        "Not of a namespace in which the app rotates other workloads; there whoever may move"
        " traffic by hand makes the moves that come (`breakGlass`).",
        tuple(line for do, _ in each for line in do),
        tuple(line for _, check in each for line in check),
        "no label, or RoleBindings of other workloads",
        tuple(
            f"kubectl label namespace {quoted(one)} --overwrite {GUARD}=on" for one in spaces(plan)
        ),
        GOES_ON,
        name="guard",
    )


def _unguarded(space: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Takes the label off a namespace without other workloads of the app's; and asks for that."""
    rest = f"kubectl -n {quoted(space)} get rolebindings -o name"
    theirs = f"{rest} | sed -n '\\|/credential-rotation-|p'"
    label = f"kubectl label namespace {quoted(space)} {GUARD}-"
    return unless(theirs, label), unless(theirs, none(guarded(space)))


def _policies() -> Move:
    anywhere = f"kubectl get namespaces -l {GUARD} -o name"
    return moves.Move(
        "The guard goes",
        "If no namespace has its label any more. It takes a cluster administrator.",
        unless(anywhere, "kubectl delete -f kubernetes/guard.yaml --ignore-not-found"),
        unless(
            anywhere,
            none(
                "kubectl get validatingadmissionpolicybindings credential-rotation-traffic"
                " --ignore-not-found -o name"
            ),
        ),
        "namespaces that have it, or no policy",
        ("kubectl apply -f kubernetes/guard.yaml",),
        GOES_ON,
        name="guard-policies",
    )


def _acts_as_itself(plan: Plan) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    setting = acting(live, group)
    return moves.Move(
        f"{live} acts as itself",
        f"From its next login on. It stays a member of {group}, so that it may do all that it may"
        " now.",
        ACTS_AS_ITSELF,
        (f"test -s {SINCE}", f"{ASKS} -c {quoted(setting)}"),
        f"no setting, and since when is written down in `{SINCE}`",
        ("psql -X -v ON_ERROR_STOP=1 -f database/4-act-as-group.sql", f"rm -f {SINCE}"),
        GOES_ON,
        name="acts-as-itself",
        answer="0",
    )


def _secret(workload: Workload, plan: Plan) -> Move:
    former, key = workload.carrier.kube_secret, workload.carrier.key
    own = (
        in_place.secret_name(workload)
        if workload.in_place
        else login.kube_secret(workload, SLOTS[0])
    )
    held = named(plan, plan.credential.slots["blue"].secret)
    return moves.Move(
        f"Secret {former} has the live password",
        f"The pods of {workload.name} read it there again. It comes from Key Vault. Where it was"
        " deleted since, make it again first, with what else it had.",
        filled(workload, plan, former, key),
        (
            # Before there were Secrets for slots, nothing was taken from it; they go later.
            *when(
                there_is(workload, f"secret {own}"),
                # Compared without showing either.
                "umask 077",
                "rm -f live.value",
                f"az keyvault secret download {held} --file live.value",
                f"{kubectl(workload)} get secret {former} {path(key)} | base64 --decode |",
                "  cmp -s - live.value",
                "rm live.value",
            ),
        ),
        f"the same as in Key Vault, or no {own}",
        (),
        "Nothing to undo: no pod of a slot reads it.",
        name=f"{workload.name}-former-secret",
    )


def _deployed(workload: Workload) -> list[Move]:
    traffic = [_traffic(workload)] if workload.called else []
    return [_former(workload), *traffic, _ended(workload)]


def _made(workload: Workload, what: str, beside: str) -> tuple[str, ...]:
    """Writes down an object of before, with what has become of the blue slot's since."""
    to = f"{FORMER}/{workload.name}{beside}.yaml"
    before = f"kubernetes/undo/{workload.name}{beside}.yaml"
    return (
        f"mkdir -p {FORMER}",
        f"{kubectl(workload)} get {what} --ignore-not-found -o json |",
        f"  rotctl former {before} {file(workload, SLOTS[0])} \\",
        f"  > {to}.new",
        f"mv {to}.new {to}",
        f"kubectl apply -f {to}",
    )


def _former(workload: Workload) -> Move:
    call, name, blue = kubectl(workload), workload.name, workload.at(SLOTS[0])
    return moves.Move(
        f"{name} beside {blue}",
        f"As it was, with what has changed in {blue} since: images, replicas, variables. It is"
        f" written to `{FORMER}/{name}.yaml` first. {PAUSE}",
        (
            f"found=$({there_is(workload, f'deployment {blue}')})",
            f"former=$({there_is(workload, f'deployment {name}')})",
            # Without blue nothing says what has changed since: what is there stays as it is.
            'if [ -n "$found" ] || [ -z "$former" ]; then',
            *(f"  {line}" for line in _made(workload, f"deployment {blue}", "")),
            "fi",
            f"{call} rollout status deployment/{name} --timeout=5m",
        ),
        (
            f"{call} rollout status deployment/{name} --timeout=5m",
            some(ready(workload, name)),
        ),
        "`successfully rolled out`: its pods are ready, so that they have logged in",
        (
            # The only pods that there are?
            some(ready(workload, blue)),
            *(follows(workload) if workload.called else ()),
            f"{call} delete deployment {name} --cascade=foreground --ignore-not-found",
        ),
        "Before traffic leaves the slot.",
        name=f"{name}-former",
    )


def _traffic(workload: Workload) -> Move:
    name, blue = workload.name, workload.at(SLOTS[0])
    found = [
        *follows_none(workload),
        *(
            f"{behind(workload, one)} | grep -vE '^{name}-({'|'.join(SLOTS)})-' | grep ."
            for one in services(workload)
        ),
    ]
    return moves.Move(
        f"Traffic of {name} follows no slot",
        f"New connections go to the pods of {name} and of {blue} alike: both use the same login.",
        (
            some(ready(workload, name)),
            *(route_moves.unshared(workload) if workload.routes else off(workload)),
        ),
        tuple(found),
        f"no slot in a Service's selector, nor in a route's backends, and pods of {name} behind it"
        if workload.routes
        else f"no slot in a Service's selector, and pods of {name} behind it",
        (),
        GOES_ON,
        name=f"{name}-traffic",
    )


def _ended(workload: Workload) -> Move:
    call, name = kubectl(workload), workload.name
    pairs = [workload.at(slot) for slot in SLOTS]
    scaled = telling.autoscalers(workload.original)
    counted = telling.adopted_budgets(workload.original)
    serves = [some(ready(workload, name))]
    if workload.called:
        serves += follows_none(workload)
    before = [
        *(
            line
            for one in scaled[:1]
            for line in unless(
                there_is(workload, f"hpa {name_of(one)}"),
                *_made(workload, f"hpa {pairs[0]}", "-hpa"),
            )
        ),
        *(
            line
            for one in counted[:1]
            for line in unless(
                there_is(workload, f"pdb {name_of(one)}"),
                f"kubectl apply -f kubernetes/undo/{name}-budgets.yaml",
            )
        ),
    ]
    gone = []
    for each in pairs:
        gone += [
            *(f"{call} delete hpa {each} --ignore-not-found" for _ in scaled[:1]),
            *when(there_is(workload, f"deployment {each}"), *ended(workload, each)),
        ]
    return moves.Move(
        f"The pods of {' and '.join(pairs)} end",
        "Each serves what it has to its end.",
        (*serves, *before, *gone),
        (
            *(none(there_is(workload, f"deployment {each}")) for each in pairs),
            none(f"{call} get pods -l {quoted(_slots(workload))} -o name"),
        ),
        "both are gone, and so are their pods",
        (),
        GOES_ON,
        name=f"{name}-slots",
    )


def _slots(workload: Workload) -> str:
    labels = [f"{k}={v}" for k, v in workload.original.labels.items()]
    return ",".join([*labels, f"slot in ({','.join(SLOTS)})"])


def _scheduled(workload: Workload) -> list[Move]:
    call, name = kubectl(workload), workload.name
    blue, green = (workload.at(slot) for slot in SLOTS)
    stopped = [
        line
        for one in (blue, green)
        for line in when(there_is(workload, f"cronjob {one}"), suspend(workload, one, "true"))
    ]
    idle = [
        none(field(workload, f"cronjob {one}", ".status.active[*].name")) for one in (blue, green)
    ]
    return [
        moves.Move(
            f"{name} in the place of the pair",
            "The pair is suspended and has no run left before the former one begins, so that no"
            f" run is done twice and none is cut off. While one runs, it stops. {PAUSE}",
            (
                f"mkdir -p {FORMER}",
                # A pair whose pods run: wait for their end, and go on then.
                *stopped,
                *idle,
                *when(
                    there_is(workload, f"cronjob {blue}"), *_made(workload, f"cronjob {blue}", "")
                ),
                *unless(
                    there_is(workload, f"cronjob {name}"),
                    f"kubectl apply -f kubernetes/undo/{name}.yaml",
                ),
                suspend(workload, name, "false"),
                f"{call} delete cronjob {blue} {green} --ignore-not-found",
            ),
            (
                none(there_is(workload, f"cronjob {blue}")),
                none(there_is(workload, f"cronjob {green}")),
                some(there_is(workload, f"cronjob {name}")),
                says_not(field(workload, f"cronjob {name}", ".spec.suspend"), "true"),
            ),
            "it is there and not suspended; the pair is gone",
            (),
            GOES_ON,
            name=f"{name}-former",
        )
    ]


def _rest(plan: Plan) -> Move:
    every = " ".join(files(each) for each in plan.workloads)
    return moves.Move(
        "What else the slots had",
        "Previews, budgets, and what only a slot's pods have read.",
        (f"kubectl delete {every} --ignore-not-found",),
        (f"kubectl get {every} --ignore-not-found -o name",),
        "nothing",
        (),
        GOES_ON,
        name="rest",
        answer="",
    )


def _sessions(plan: Plan, deployed: list[Workload]) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    restarted = [
        line
        for each in deployed
        for line in (
            f"{kubectl(each)} rollout restart {kind(each)}/{each.name}",
            f"{kubectl(each)} rollout status {kind(each)}/{each.name} --timeout=5m",
        )
    ]
    return moves.Move(
        f"No session acts as {group}",
        f"One that logged in before {live} acted as itself would lose what it reads once the owner"
        " changes. The pods have been replaced since if they had slots; else they are restarted,"
        " one by one. Another client that logs in with it ends its session, or is restarted.",
        tuple(restarted),
        (SESSIONS,),
        "no row. A row is a session: its process, its beginning, whose it is",
        (),
        "Nothing to undo.",
        name="sessions",
        answer="",
    )


def _owner(plan: Plan) -> Move:
    live, group = plan.credential.slots["blue"].role, plan.credential.group
    return moves.Move(
        f"{live} owns what {group} owns",
        "In one transaction; what was made since is among it. With a long transaction in the way it"
        f" gives up after 3 s and has changed nothing: run it again. {live} stays a member of"
        f" {group}, and {group} stays, as which nobody can log in: what others have granted to it"
        " since reaches the application by it.",
        OWNER_BACK,
        (f"{ASKS} -f database/undo/2-owner-check.sql",),
        "no row",
        ("psql -X -v ON_ERROR_STOP=1 --single-transaction -f database/2-adopt.sql",),
        name="owner",
        answer="",
    )


def _green(plan: Plan) -> Move:
    green = plan.credential.slots["green"].role
    asked = f"SELECT count(*) FROM pg_roles WHERE rolname = {literal(green)}"
    return moves.Move(
        f"{green} goes",
        "Not while somebody is logged in with it: then it stops, and their sessions say who.",
        GREEN_GONE,
        (f"{ASKS} -c {quoted(asked)}",),
        "there is no such role",
        (),
        GOES_ON,
        name="green-role",
        answer="0",
    )


def _rotator(plan: Plan) -> Move:
    rotator = plan.credential.rotator
    return moves.Move(
        f"{rotator.role} rotates nothing of this",
        "It goes if it rotates no other credential of the server. PostgreSQL before 16 does not say"
        " that: there it stays, unless `--last` (or `LAST=1`) says that nobody else needs it.",
        ROTATOR_GONE,
        (f'{ASKS} -v last="${{LAST:-}}" -f database/undo/7-rotator-check.sql',),
        "no row",
        (),
        GOES_ON,
        name="rotator",
        answer="",
    )


def _secrets(plan: Plan) -> Move:
    rotator, green = plan.credential.rotator, plan.credential.slots["green"].secret
    asked = f"SELECT count(*) FROM pg_roles WHERE rolname = {literal(rotator.role)}"
    gone = [
        (
            f"held=$({there(plan, one)})",
            f'test "$held" = 0 || az keyvault secret delete {named(plan, one)} --output none',
        )
        for one in (green, rotator.secret)
    ]
    stays = f"stays=$({ASKS} -c {quoted(asked)})"
    return moves.Move(
        f"The secret {green} goes",
        f"And {rotator.secret}, if {rotator.role} is gone. A deleted secret keeps its name for the"
        " vault's time of retention.",
        (
            *gone[0],
            stays,
            'if [ "$stays" = 0 ]; then',
            *(f"  {line}" for line in gone[1]),
            "fi",
        ),
        (
            says(there(plan, green), "0"),
            stays,
            f'test "$stays" = 1 || {says(there(plan, rotator.secret), "0")}',
        ),
        f"the vault has no {green}",
        (f"az keyvault secret recover {named(plan, green)} --output none",),
        name="secrets",
    )


def _told(plan: Plan) -> Move:
    name, live = plan.credential.name, plan.credential.slots["blue"]
    return moves.Move(
        "Git, and credentials.yaml",
        f"{live.role} and {live.secret} are as they are: nothing rotates them from here on, and"
        " what expires there is yours to renew.",
        (),
        (
            *(some(there_is(each, f"{kind(each)} {each.name}")) for each in plan.workloads),
            "code=0",
            "known=$(rotctl list --json) || code=$?",
            # Where no app is named, none has it.
            'if [ "$code" != 2 ]; then',
            '  test "$code" = 0',
            f"""  echo "$known" | (! grep '"credential": "{name}"') || false""",
            "fi",
        ),
        f"{_those(plan)} there, and the app (if one is named) knows no {name}",
        (),
        "Nothing to undo.",
        name="told",
        by_hand=f"{_committed(plan)} Take {name} out of credentials.yaml and deploy the app; take"
        f" its rights on the secrets {live.secret} and {plan.credential.slots['green'].secret} away"
        " (docs/deploy.md, 2).",
    )


def _committed(plan: Plan) -> str:
    """What Git has from now on."""
    twins = [each for each in plan.workloads if not each.in_place]
    git = ", ".join(f"`{FORMER}/{each.name}.yaml`" for each in twins)
    routed = ", ".join(name for each in plan.workloads for name in each.routes)
    made = []
    if twins:
        made.append(
            f"Commit {git} (where they are: else the manifests that your repository has) in the"
            " place of the two slots' manifests, with the selectors of before."
        )
    made += [
        f"Have the manifest of {each.name} in Git read its login from"
        f" {_former_login(each)} again, as it does now in the cluster."
        for each in plan.workloads
        if each.in_place
    ]
    if routed:
        made.append(
            f"Put HTTPRoute {routed} back there as it is now; then take off it the annotations that"
            " have kept your tool from deleting it."
        )
    return " ".join([*made, "Let the tool sync."])


def _former_login(workload: Workload) -> str:
    carrier = workload.carrier
    return carrier.provider_class if carrier.mounted else f"Secret {carrier.kube_secret}"


def _those(plan: Plan) -> str:
    names = [each.name for each in plan.workloads]
    return f"{names[0]} is" if len(names) == 1 else f"{', '.join(names)} are"
