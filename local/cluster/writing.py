"""Create, update, patch and delete, from request bodies to what the registry stores."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from local.cluster import errors, fields, patches
from local.cluster.admission import Write
from local.cluster.kinds import POD
from local.cluster.requests import flag, whole
from local.cluster.scale import scale_of, with_scale
from local.cluster.schemas import unknown
from local.cluster.validation import SCHEMAS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.cluster.admission import Admission
    from local.cluster.auth import User
    from local.cluster.kinds import Kind, Object
    from local.cluster.registry import Admit, Part, Registry
    from local.cluster.requests import Target

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


def read_body(content_type: str, body: bytes) -> Any:
    """Raises 400 for what is neither JSON nor YAML, 415 for another type."""
    if content_type not in {
        "", "application/json", "application/yaml", "application/octet-stream",
        JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH,
    }:  # fmt: skip
        raise errors.unsupported_media(["application/json", "application/yaml"])
    try:
        return json.loads(body) if not content_type.endswith("yaml") else yaml.safe_load(body)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise errors.bad_request("the body of the request is not valid JSON or YAML") from error


@dataclass(frozen=True)
class Asker:
    """Who writes: the user, and the User-Agent that a field manager is named after."""

    user: User
    agent: str


class Writer:
    """The writing verbs. Each returns the HTTP status and the object to answer with."""

    def __init__(self, registry: Registry, admission: Admission) -> None:
        self._registry = registry
        self._admission = admission

    def _admit(self, target: Target, asker: Asker) -> Admit:
        def admit(operation: str, new: Object | None, old: Object | None) -> None:
            if target.subresource == "scale":  # what is reviewed is what was written
                new, old = new and scale_of(new), old and scale_of(old)
            self._admission.review(Write(asker.user, target, operation, new, old))

        return admit

    def create(
        self, target: Target, body: Any, query: Mapping[str, str], asker: Asker
    ) -> tuple[int, Object]:
        obj = _for_target(target, body)
        _check_known(target, obj, query)
        obj["metadata"].pop("managedFields", None)
        with errors.decoding(target.kind):
            tracked = fields.track_update(
                {"metadata": {}}, obj, target.kind, _manager(query, asker.agent)
            )
        admit = self._admit(target, asker)
        return 201, self._registry.create(target.kind, tracked, admit, dry_run=_dry(query))

    def update(
        self, target: Target, body: Any, query: Mapping[str, str], asker: Asker
    ) -> tuple[int, Object]:
        current = self._registry.fetch(target.kind, target.namespace, target.name)
        if target.subresource == "scale":
            return 200, self._scaled(target, current, body, query, asker)
        obj = _for_target(target, body)
        _check_known(target, obj, query)
        if not obj["metadata"].get("managedFields"):
            obj["metadata"]["managedFields"] = current["metadata"].get("managedFields")
        return 200, self._store(target, current, obj, query, asker)

    def patch(
        self, target: Target, body: Any, query: Mapping[str, str], asker: Asker, content_type: str
    ) -> tuple[int, Object]:
        if content_type == APPLY_PATCH:
            return self._apply(target, body, query, asker)
        current = self._registry.fetch(target.kind, target.namespace, target.name)
        if target.subresource == "scale":
            scale = _patched(target.kind, scale_of(current), body, content_type)
            return 200, self._scaled(target, current, scale, query, asker)
        obj = _for_target(target, _patched(target.kind, current, body, content_type))
        return 200, self._store(target, current, obj, query, asker)

    def _store(
        self, target: Target, current: Object, obj: Object, query: Mapping[str, str], asker: Asker
    ) -> Object:
        part: Part = "status" if target.subresource == "status" else ""
        if not part:
            with errors.decoding(target.kind):
                manager = _manager(query, asker.agent)
                obj = fields.track_update(current, obj, target.kind, manager, target.subresource)
        admit = self._admit(target, asker)
        return self._registry.update(target.kind, obj, part, admit, dry_run=_dry(query))

    def _scaled(
        self, target: Target, current: Object, scale: Any, query: Mapping[str, str], asker: Asker
    ) -> Object:
        obj = with_scale(target.kind, current, scale)
        stored = self._store(target, current, obj, query, asker)
        return scale_of(stored)

    def _apply(
        self, target: Target, body: Any, query: Mapping[str, str], asker: Asker
    ) -> tuple[int, Object]:
        manager = query.get("fieldManager")
        if not manager:
            raise errors.bad_request("fieldManager is required for apply patch")
        if target.subresource == "scale":
            raise errors.unsupported_media([JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH])
        applied = _for_target(target, body)
        if applied["metadata"].get("managedFields"):
            raise errors.bad_request("metadata.managedFields must be nil")
        force = flag(query, "force")
        current = self._registry.store.get(target.kind, target.namespace, target.name)
        metadata = {k: applied["metadata"].get(k) for k in ("name", "namespace")}
        with errors.decoding(target.kind):
            obj = fields.apply(
                current or {"metadata": metadata}, applied, target.kind, manager, force=force
            )
        admit = self._admit(target, asker)
        if current is None:
            return 201, self._registry.create(target.kind, obj, admit, dry_run=_dry(query))
        part: Part = "status" if target.subresource == "status" else ""
        return 200, self._registry.update(target.kind, obj, part, admit, dry_run=_dry(query))

    def delete(
        self, target: Target, body: Any, query: Mapping[str, str], asker: Asker
    ) -> tuple[int, Object]:
        current = self._registry.fetch(target.kind, target.namespace, target.name)
        self._admit(target, asker)("DELETE", None, current)
        return 200, self.delete_one(target.kind, current, _delete_options(body, query))

    def delete_one(self, kind: Kind, current: Object, options: Object) -> Object:
        left = self._registry.delete(kind, current, options)
        metadata = current["metadata"]
        still_there = self._registry.store.get(
            kind, metadata.get("namespace", ""), metadata["name"]
        )
        if still_there or kind is POD:
            return left
        details: Object = {"name": metadata["name"], "kind": kind.plural, "uid": metadata["uid"]}
        if kind.group:
            details["group"] = kind.group
        return {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": details,
        }  # fmt: skip

    def delete_all(
        self,
        target: Target,
        found: list[Object],
        body: Any,
        query: Mapping[str, str],
        asker: Asker,
    ) -> None:
        for obj in found:
            self._admit(target, asker)("DELETE", None, obj)
            self.delete_one(target.kind, obj, _delete_options(body, query))


def _check_known(target: Target, obj: Object, query: Mapping[str, str]) -> None:
    """Raises 400 for a field that a CRD does not know, where the client asks for that."""
    schema = SCHEMAS.get(target.kind)
    if schema is None or query.get("fieldValidation") != "Strict":
        return
    found = [f'unknown field "{path}"' for path in unknown(schema, obj.get("spec"), "spec")]
    if found:
        kind = target.kind
        what = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}'
        raise errors.bad_request(f"{what}: strict decoding error: {', '.join(found)}")


def _patched(kind: Kind, current: Object, body: Any, content_type: str) -> Object:
    if content_type == JSON_PATCH:
        return patches.json_patch(current, body)
    if not isinstance(body, dict):
        raise errors.bad_request("the patch is not a JSON object")
    if content_type == MERGE_PATCH:
        return _as_object(patches.merge_patch(current, body))
    accepted = [JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
    if content_type != STRATEGIC_PATCH or not kind.builtin:
        raise errors.unsupported_media(accepted)
    return _as_object(patches.strategic_patch(current, body, kind))


def _as_object(value: Any) -> Object:
    if not isinstance(value, dict):
        raise errors.bad_request("the patch leaves no object")
    return value


def _for_target(target: Target, body: Any) -> Object:
    """The body as an object of the target's kind, namespace and name. Raises 400 for another's."""
    if not isinstance(body, dict) or not isinstance(body.get("metadata") or {}, dict):
        raise errors.bad_request("the body of the request is not an object")
    kind = target.kind
    given = (body.get("apiVersion", kind.api_version), body.get("kind", kind.kind))
    if given != (kind.api_version, kind.kind):
        raise errors.bad_request(
            f'{given[1]} in version "{given[0]}" cannot be handled as a {kind.kind}'
        )
    metadata = dict(body.get("metadata") or {})
    if target.name and metadata.setdefault("name", target.name) != target.name:
        raise errors.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL"
            f" ({target.name})"
        )
    if kind.namespaced and metadata.setdefault("namespace", target.namespace) != target.namespace:
        raise errors.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    return {**body, "metadata": metadata}


def _manager(query: Mapping[str, str], agent: str) -> str:
    return query.get("fieldManager") or agent.partition("/")[0] or "unknown"


def _dry(query: Mapping[str, str]) -> bool:
    return query.get("dryRun") == "All"


def _delete_options(body: Any, query: Mapping[str, str]) -> Object:
    options: Object = dict(body) if isinstance(body, dict) else {}
    for key in ("propagationPolicy", "dryRun"):
        if key in query:
            options[key] = query[key]
    if "gracePeriodSeconds" in query:
        options["gracePeriodSeconds"] = whole(query, "gracePeriodSeconds")
    return options
