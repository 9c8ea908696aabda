"""The parts of a pod template that say which login its pods use, in one slot or the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rotctl.adopt import carriers, roles
from rotctl.adopt.cleaning import cleaned
from rotctl.adopt.original import containers, volumes

if TYPE_CHECKING:
    from rotctl.adopt.original import Object
    from rotctl.adopt.plan import Credential, Workload


def written(template: Object, workload: Workload, credential: Credential, slot: str) -> None:
    """Writes the slot's login into a copy of the original's template."""
    for container in containers(template):
        _role(container, workload, credential, slot)
    if workload.carrier.mounted:
        _mounted(template, workload, credential, slot)
    else:
        carrier = workload.carrier
        keys = (carrier.key, workload.role_file)
        reads_from(template, carrier.kube_secret, kube_secret(workload, slot), keys)
    _files(template, workload, credential, slot)


# -- names


def provider_class(workload: Workload, credential: Credential, slot: str) -> str:
    """The SecretProviderClass that a slot's pods mount.

    One that is called as the secret is stays, and the other slot's is called as that slot's secret:
    of such names it is known which slot's they are. Others get the slot's word in both slots, as
    otherwise the two pod templates would differ by more than their slots.
    """
    name, made = workload.carrier.provider_class, credential.slots
    original = workload.original.one("SecretProviderClass", name)
    mine = [
        one for one in carriers.objects(original or {}) if one["objectName"] == made["blue"].secret
    ]
    pinned = any(one.get("objectVersion") for one in mine)
    if name == made["blue"].secret and original and not carriers.synced(original) and not pinned:
        return made[slot].secret
    return own(name, credential, slot)


def own(name: str, credential: Credential, slot: str) -> str:
    """The name of a slot's copy of something, in which a rotation knows the slot's word.

    Not the other secret's own name with another one as its counterpart: by that the two pod
    templates would differ.
    """
    green = credential.slots["green"]
    taken = f"{name}-green" in {green.secret, green.role}
    return f"{name}-pods-{slot}" if taken else f"{name}-{slot}"


def kube_secret(workload: Workload, slot: str) -> str:
    return f"{workload.carrier.kube_secret}-{slot}"


# -- the role


def _role(container: Object, workload: Workload, credential: Credential, slot: str) -> None:
    """Sets each variable that says the role. What comes from a ConfigMap, which both slots read, is
    set by the container itself, and first: other variables may be made of it."""
    live, mine = credential.slots["blue"].role, credential.slots[slot].role
    own = {one["name"]: one for one in container.get("env") or []}
    for one in reversed(roles.variables(workload.original)):
        if one.container != container["name"] or not roles.carries(one, live):
            continue
        value = mine if one.value == live else roles.renamed(str(one.value), live, mine)
        if one.name in own:
            _set(own[one.name], value if not one.config_map else literal(value))
        else:
            _first(container, {"name": one.name, "value": literal(value)})
    has = reads(container, workload)
    for name in workload.variables:
        known = next((one for one in container.get("env") or [] if one["name"] == name), None)
        if known is not None:
            _set(known, mine)
        elif has:
            _first(container, {"name": name, "value": mine})


def _first(container: Object, variable: Object) -> None:
    container["env"] = [variable, *(container.get("env") or [])]


def _set(variable: Object, value: str) -> None:
    variable.pop("valueFrom", None)
    variable["value"] = value


def literal(value: str) -> str:
    """In a variable of a container `$(` begins a reference; in a ConfigMap it does not."""
    return value.replace("$(", "$$(")


def reads(container: Object, workload: Workload) -> bool:
    """Whether a container reads the password: by a variable, or by a volume."""
    carrier, spec = workload.carrier, workload.original.template
    names = {volume["name"] for volume in volumes(spec) if _holds(volume, carrier)}
    mounts = {mount["name"] for mount in container.get("volumeMounts") or []}
    original = workload.original.one("SecretProviderClass", carrier.provider_class) or {}
    held = set(carriers.synced(original)) | (
        {carrier.kube_secret} if carrier.kube_secret else set()
    )
    reads = {
        (one.get("valueFrom") or {}).get("secretKeyRef", {}).get("name")
        for one in container.get("env") or []
    } | {(one.get("secretRef") or {}).get("name") for one in container.get("envFrom") or []}
    return bool(names & mounts or held & reads)


def _holds(volume: Object, carrier: carriers.Carrier) -> bool:
    if carrier.mounted:
        attributes = (volume.get("csi") or {}).get("volumeAttributes") or {}
        return bool(attributes.get("secretProviderClass") == carrier.provider_class)
    return shows(volume, carrier.kube_secret)


def shows(volume: Object, secret: str) -> bool:
    """Whether a volume has keys of a Kubernetes Secret as files."""
    sources = (volume.get("projected") or {}).get("sources") or []
    named = [(volume.get("secret") or {}).get("secretName")]
    named += [(one.get("secret") or {}).get("name") for one in sources]
    return secret in named


# -- the password


def _mounted(template: Object, workload: Workload, credential: Credential, slot: str) -> None:
    carrier = workload.carrier
    mounted = provider_class(workload, credential, slot)
    for volume in volumes(template):
        attributes = (volume.get("csi") or {}).get("volumeAttributes") or {}
        if attributes.get("secretProviderClass") == carrier.provider_class:
            attributes["secretProviderClass"] = mounted
    original = workload.original.one("SecretProviderClass", carrier.provider_class) or {}
    for name in carriers.synced(original):
        _renamed(template, name, own(name, credential, slot))


def _renamed(template: Object, name: str, to: str) -> None:
    """Every reference to a Secret, whatever is read of it."""
    for container in containers(template):
        for source in container.get("envFrom") or []:
            _replace(source.get("secretRef"), "name", name, to)
        for variable in container.get("env") or []:
            _replace((variable.get("valueFrom") or {}).get("secretKeyRef"), "name", name, to)
    for volume in volumes(template):
        _replace(volume.get("secret"), "secretName", name, to)
        for source in (volume.get("projected") or {}).get("sources") or []:
            _replace(source.get("secret"), "name", name, to)


def _replace(holder: Object | None, key: str, name: str, to: str) -> None:
    if holder is not None and holder.get(key) == name:
        holder[key] = to


def reads_from(template: Object, name: str, to: str, own: tuple[str, str]) -> None:
    """Has the pods read the password's key of a Secret, and that of the role's file ("": none),
    from another Secret. Whatever else the live one has they read there as before."""
    renamed, keys = {name: to}, set(own) - {""}
    for container in containers(template):
        _variables(container, renamed, own[0])
    for volume in volumes(template):
        held = volume.get("secret")
        if held and held.get("secretName") in renamed:
            _volume(volume, renamed[held["secretName"]], keys)
        projected = volume.get("projected")
        if projected:
            sources = [part for one in projected["sources"] for part in _parts(one, renamed, keys)]
            projected["sources"] = sources


def _variables(container: Object, renamed: dict[str, str], key: str) -> None:
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if reference and reference["name"] in renamed and reference["key"] == key:
            reference["name"] = renamed[reference["name"]]
    said = {one["name"] for one in container.get("env") or []}
    for source in container.get("envFrom") or []:
        name = (source.get("secretRef") or {}).get("name")
        variable = f"{source.get('prefix', '')}{key}"
        if name in renamed and variable not in said:
            # A variable of the container counts before one of `envFrom`.
            reference = {"secretKeyRef": {"name": renamed[name], "key": key}}
            _first(container, {"name": variable, "valueFrom": reference})


def _volume(volume: Object, to: str, keys: set[str]) -> None:
    held = volume["secret"]
    items = held.get("items") or []
    if {item["key"] for item in items} <= keys:
        held["secretName"] = to
        return
    source: Object = {"secret": {"name": held["secretName"], "items": items}}
    if held.get("optional") is not None:
        source["secret"]["optional"] = held["optional"]
    made: Object = {"sources": list(_parts(source, {held["secretName"]: to}, keys))}
    if held.get("defaultMode") is not None:
        made["defaultMode"] = held["defaultMode"]
    del volume["secret"]
    volume["projected"] = made


def _parts(source: Object, renamed: dict[str, str], keys: set[str]) -> list[Object]:
    """A source of a projected volume, in two where only some of its keys are the slot's own."""
    held = source.get("secret") or {}
    if held.get("name") not in renamed:
        return [source]
    to, items = renamed[held["name"]], held.get("items") or []
    mine = [item for item in items if item["key"] in keys]
    rest = [item for item in items if item["key"] not in keys]
    if not rest:
        return [{"secret": {**held, "name": to}}]
    if not mine:
        return [source]
    return [{"secret": {**held, "items": rest}}, {"secret": {**held, "name": to, "items": mine}}]


# -- ConfigMaps that volumes are made of


def config_maps(workload: Workload, credential: Credential, slot: str) -> list[Object]:
    """The slot's own copies of those that say the role."""
    live, mine = credential.slots["blue"].role, credential.slots[slot].role
    made = []
    for name in _saying(workload, live):
        copied = cleaned(workload.original.one("ConfigMap", name) or {})
        copied["metadata"]["name"] = own(name, credential, slot)
        data: dict[str, Any] = copied["data"]
        copied["data"] = {key: roles.renamed(str(text), live, mine) for key, text in data.items()}
        made.append(copied)
    return made


def _saying(workload: Workload, role: str) -> list[str]:
    found = roles.files(workload.original)
    return list(dict.fromkeys(n for n, _, text in found if roles.renamed(text, role, "") != text))


def _files(template: Object, workload: Workload, credential: Credential, slot: str) -> None:
    for name in _saying(workload, credential.slots["blue"].role):
        for volume in volumes(template):
            mine = own(name, credential, slot)
            _replace(volume.get("configMap"), "name", name, mine)
            for source in (volume.get("projected") or {}).get("sources") or []:
                _replace(source.get("configMap"), "name", name, mine)
