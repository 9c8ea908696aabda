"""A workload without a twin: the Secret whose login a rotation exchanges, and what has its pods
read that one (docs/consumers.md, in place)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotctl.adopt import carriers, login, patching, roles
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import called, containers, env, template_of, volumes
from rotctl.adopt.refusal import GUIDE, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Credential, Workload

HOLDS = "credential-rotation/slot"  # the annotation by which a Secret says whose login it holds
# What a rotation notes in a workload in place, and in its pod template.
NOTED = ("credential-rotation/rotation", "credential-rotation/did")
NOTED_IN_PODS = ("credential-rotation/secret-version", "credential-rotation/restarted")
USERNAME = "username"
LOGIN = "ROTATED_LOGIN"  # a variable for connection strings that have the role inside


# -- names


def secret_name(workload: Workload) -> str:
    """Of a Secret of its own: whoever made the one that pods read today would put that login
    back."""
    return f"{workload.name}-login"


def key(workload: Workload) -> str:
    """Under which that Secret has the value."""
    carrier = workload.carrier
    return carrier.key or next(iter(_synced(workload).values()), "password")


def role_key(workload: Workload, credential: Credential) -> str:
    """Under which it has the role; "" where the value names it too."""
    if credential.format != "password":
        return ""
    return workload.role_file or (USERNAME if key(workload) != USERNAME else "role")


def _synced(workload: Workload) -> dict[str, str]:
    """The Kubernetes Secrets that the driver fills with the value, and under which key."""
    carrier = workload.carrier
    made = workload.original.one("SecretProviderClass", carrier.provider_class) or {}
    files = {_file(one) for one in _mine(made, carrier)}
    return {
        str(one["secretName"]): str(data["key"])
        for one in (made.get("spec") or {}).get("secretObjects") or []
        for data in one.get("data") or []
        if data.get("objectName") in files
    }


def _mine(provider_class: Object, carrier: carriers.Carrier) -> list[Object]:
    every = carriers.objects(provider_class)
    return [one for one in every if one["objectName"] == carrier.vault_secret]


def _file(one: Object) -> str:
    return str(one.get("objectAlias") or one["objectName"])


# -- what is written


def secret(workload: Workload, credential: Credential) -> Object:
    """The Secret without its value, which a move fills in."""
    made: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(workload),
            "namespace": workload.namespace,
            "annotations": {HOLDS: "blue"},
        },
        "type": "Opaque",
    }
    named = role_key(workload, credential)
    if named:
        made["stringData"] = {named: credential.slots["blue"].role}
    return made


def running(workload: Workload, credential: Credential) -> Object:
    """The workload as it reads that Secret, all else as it was."""
    made = cleaned(workload.original.workload)
    template = template_of(made)
    if role_key(workload, credential):
        for container in containers(template):
            _role(container, workload, credential)
    held = {workload.carrier.kube_secret: workload.carrier.key} if workload.carrier.key else {}
    for name, each in (held or _synced(workload)).items():
        login.reads_from(template, name, secret_name(workload), (each, workload.role_file))
    _volumes(template, workload, credential)
    return made


def change(workload: Workload, credential: Credential) -> Object:
    """The strategic merge patch that makes it read the Secret. It names what it changes and
    nothing else: a release in between keeps its image."""
    return patching.patch(cleaned(workload.original.workload), running(workload, credential))


def live_change(workload: Workload, credential: Credential) -> Object:
    return _ordered(change(workload, credential), running(workload, credential))


def live_undo(workload: Workload, credential: Credential) -> Object:
    """With what rotations have noted in it since."""
    before, after = running(workload, credential), cleaned(workload.original.workload)
    made = _ordered(patching.patch(before, after), after)
    made["metadata"] = {"annotations": dict.fromkeys(NOTED)}
    metadata = made["spec"]["template"].setdefault("metadata", {})
    metadata["annotations"] = {
        **dict.fromkeys(NOTED_IN_PODS),
        **(metadata.get("annotations") or {}),
    }
    return made


def _ordered(made: Object, after: Object) -> Object:
    """A patch for the API server, which puts variables that are new behind those that are made of
    them unless it is told the order. Kustomize puts them first by itself."""
    spec = ((made.get("spec") or {}).get("template") or {}).get("spec") or {}
    whole = (template_of(after).get("spec") or {}) if spec else {}
    for kind in ("initContainers", "containers"):
        names = {one["name"]: one for one in whole.get(kind) or []}
        for one in spec.get(kind) or []:
            if isinstance(one.get("env"), list):
                order = [{"name": each["name"]} for each in names[one["name"]].get("env") or []]
                one["$setElementOrder/env"] = order
    return made


def _role(container: Object, workload: Workload, credential: Credential) -> None:
    """Has each variable that says the role read it in the Secret. Files say it by themselves."""
    live, own = credential.slots["blue"].role, {v["name"]: v for v in container.get("env") or []}
    reference = {
        "secretKeyRef": {"name": secret_name(workload), "key": role_key(workload, credential)}
    }
    for one in reversed(roles.variables(workload.original)):
        if one.container != container["name"] or not roles.carries(one, live):
            continue
        if one.value == live:
            _put(container, own, {"name": one.name, "valueFrom": reference})
            continue
        text = login.literal(str(one.value)) if one.config_map else str(one.value)
        made = roles.renamed(text, live, f"$({LOGIN})")
        _put(container, own, {"name": one.name, "value": made})
        _put(container, own, {"name": LOGIN, "valueFrom": reference})
    for name in workload.variables:
        if name in own or login.reads(container, workload):
            _put(container, own, {"name": name, "valueFrom": reference})


def _put(container: Object, own: dict[str, Object], variable: Object) -> None:
    """In the place of one of this name, or first."""
    known = own.get(variable["name"])
    if known is None:
        own[variable["name"]] = variable
        container["env"] = [variable, *(container.get("env") or [])]
        return
    known.clear()
    known.update(variable)


def _volumes(template: Object, workload: Workload, credential: Credential) -> None:
    """What the driver mounted comes from the Secret, under the same file name; and the role's file
    beside the password's, where one is wanted."""
    carrier, named = workload.carrier, workload.role_file
    made = workload.original.one("SecretProviderClass", carrier.provider_class) or {}
    for volume in volumes(template):
        attributes = (volume.get("csi") or {}).get("volumeAttributes") or {}
        if carrier.mounted and attributes.get("secretProviderClass") == carrier.provider_class:
            del volume["csi"]
            files = [{"key": key(workload), "path": _file(one)} for one in _mine(made, carrier)]
            volume["secret"] = {"secretName": secret_name(workload), "items": files}
        held = volume.get("secret") or {}
        items = held.get("items") or []
        mine = held.get("secretName") == secret_name(workload) and role_key(workload, credential)
        if mine and named and items and named not in {one["path"] for one in items}:
            items.append({"key": named, "path": named})


# -- what is not done


def refused(workload: Workload, credential: Credential) -> Iterator[Refusal]:
    """What cannot be adopted in place, of what was decided."""
    if not workload.in_place:
        return
    original, carrier = workload.original, workload.carrier
    what = called(original.workload)
    made = original.one("SecretProviderClass", carrier.provider_class) or {}
    if carrier.mounted and len(carriers.objects(made)) > 1:
        yield Refusal(
            what,
            f"SecretProviderClass {carrier.provider_class} mounts more than {carrier.vault_secret},"
            " and pods in place read their login from a Kubernetes Secret",
            "mount the login by a class of its own first, under a path of its own",
        )
        return
    there = original.one("Secret", secret_name(workload))
    if there is not None:
        yield Refusal(
            called(there),
            f"it is there already, and the one for {workload.name} would be called so",
            "go on with the folder that it came from, or give it another name first",
        )
    for name, file, text in roles.files(original):
        if roles.renamed(text, credential.slots["blue"].role, "") != text:
            yield Refusal(
                what,
                f"file {file} of ConfigMap {name} has the role in it, which changes with each"
                " rotation in place",
                f"let it read the role from a variable, or a file of its own ({GUIDE}, in place)",
            )
    yield from _never_restarted(workload)
    yield from _never_read(workload, credential)


def _never_restarted(workload: Workload) -> Iterator[Refusal]:
    """With `restart`, what would not restart all pods."""
    stays = staying(workload.original.workload)
    if stays and workload.then == "restart":
        yield Refusal(
            called(workload.original.workload),
            f"it would not replace all of its pods: {stays}",
            "let it roll out as a whole (`type: RollingUpdate`, without a partition, not paused)",
        )


def staying(workload: Object) -> str:
    """Why a change of its template would not replace all pods; "" if it would."""
    spec = workload.get("spec") or {}
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type") == "OnDelete":
        return "its updateStrategy is OnDelete"
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if partition:
        return f"its updateStrategy has a partition of {partition}"
    return "its rollout is paused" if spec.get("paused") else ""


def told(workload: Workload) -> Iterator[str]:
    """What is worth knowing of one in place, and stands in no way."""
    original, name = workload.original, workload.name
    spec = original.workload.get("spec") or {}
    once = "once now" if workload.then == "reload" else "once now and at each rotation"
    yield (
        f"{original.kind} {name} is adopted in place: it restarts {once}, by its own rolling"
        " update, and requests fail as far as that lets them fail."
    )
    if spec.get("replicas", 1) == 1 and original.kind != "DaemonSet":
        yield f"{name} has one pod: nothing serves while that one is replaced."
    elif (spec.get("strategy") or {}).get("type") == "Recreate":
        yield f"The strategy of {name} is Recreate: all of its pods end before new ones start."
    own = (original.template.get("spec") or {}).get("containers") or []
    if not any(one.get("readinessProbe") for one in own):
        yield f"{name} has no readiness probe: its rollout goes on whether its pods log in or not."
    if workload.then == "reload" and (why := staying(original.workload)):
        yield f"{name} does not restart by itself ({why}): see to it in the move that changes it."
    if (original.template.get("spec") or {}).get("hostNetwork"):
        yield (
            f"The pods of {name} have their nodes' addresses: other pods of these nodes look like"
            " them in the database but for `application` (docs/configuration.md, addresses)."
        )


def _never_read(workload: Workload, credential: Credential) -> Iterator[Refusal]:
    """With `reload`, what pods read once alone."""
    if workload.then != "reload":
        return
    template, name = template_of(running(workload, credential)), secret_name(workload)
    how = [
        f"as variable {variable['name']}"
        for _, variable in env(template)
        if ((variable.get("valueFrom") or {}).get("secretKeyRef") or {}).get("name") == name
    ]
    held = {volume["name"] for volume in volumes(template) if login.shows(volume, name)}
    how += [
        f"by the subPath of {mount['mountPath']}"
        for container in containers(template)
        for mount in container.get("volumeMounts") or []
        if mount["name"] in held and (mount.get("subPath") or mount.get("subPathExpr"))
    ]
    if how:
        yield Refusal(
            called(workload.original.workload),
            f"with `reload` its pods would read the login {' and '.join(dict.fromkeys(how))},"
            " which none reads again",
            "let it read files of a volume, of the role too (--role-file); or --in-place restart",
        )
