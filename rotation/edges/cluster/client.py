"""The client of one API server, and the errors for its refusals."""

from __future__ import annotations

import json
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never, cast

import urllib3
from kubernetes import client, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_kube_config
from kubernetes.config.kube_config import KubeConfigMerger

from rotation.edges import http_status
from rotation.edges.bounded import POOLS
from rotation.model.errors import Denied, EdgeError, Invalid, Unavailable
from rotation.model.reasons import Code

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation import config
    from rotation.model.targets import Kind
    from rotation.model.wire import JsonObject
    from rotation.secrecy import Secret

TIMEOUT = (10.0, 30.0)  # seconds to connect, to read
# What a patch is: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
# Statuses as in https://kubernetes.io/docs/reference/using-api/api-concepts/. 409 is not final:
# others were faster, and what our patch was decided on has to be looked at anew.
CODES = http_status.Codes(
    unavailable=Code.CLUSTER_UNAVAILABLE,
    denied=Code.CLUSTER_REFUSED,
    missing=Code.CLUSTER_MISSING,
    conflict=Code.CLUSTER_CONFLICT,
    invalid=Code.CLUSTER_ERROR,
    token=Code.CLUSTER_TOKEN,
    final=http_status.FINAL - {409},
)
# What infra/kubernetes/guard.yaml denies, whatever status its policy has for it.
POLICY = re.compile(
    r"ValidatingAdmissionPolicy "
    r"'(credential-rotation-(?:cronjobs|deployments|in-place|jobs|metadata|routes|secrets"
    r"|services|traffic|weights))'"
)
# What stands in a Status' message of these refusals (run: 1.35); others may write it too, and would
# only change the code.
# https://github.com/kubernetes/apiserver/tree/master/pkg/admission/plugin
# https://github.com/kubernetes/apiserver/blob/master/pkg/endpoints/handlers/responsewriters/errors.go
RIGHT = re.compile(r'User "[^"]*" cannot \w+ (?:resource|path) "(services/proxy")?')
OTHER_POLICY = re.compile(r"AdmissionPolicy '[^']*' with binding '[^']*' denied request")
QUOTA = re.compile(r" is forbidden: exceeded quota: ")
WEBHOOK_DENIED = re.compile(r'^admission webhook "[^"]*" denied the request')
WEBHOOK_DOWN = re.compile(r"failed calling webhook ")


# https://pkg.go.dev/k8s.io/apimachinery/pkg/apis/meta/v1#StatusReason
REASONS = {
    "AlreadyExists", "BadRequest", "Conflict", "Expired", "Forbidden", "Gone", "InternalError",
    "Invalid", "MethodNotAllowed", "NotAcceptable", "NotFound", "RequestEntityTooLarge",
    "ServerTimeout", "ServiceUnavailable", "StoreReadError", "Timeout", "TooManyRequests",
    "Unauthorized", "UnsupportedMediaType",
}  # fmt: skip
FIELDS = {
    "annotations", "containers", "data", "image", "initContainers", "jobTemplate", "labels",
    "metadata", "name", "replicas", "resourceVersion", "selector", "slot", "spec", "status",
    "suspend", "template",
}  # fmt: skip
LONGEST_FIELD = 200
# What is raised by whoever reads an answer that is not what was asked for.
STRANGE = (
    ValueError, RecursionError, TypeError, AttributeError, LookupError, ArithmeticError,
)  # fmt: skip


class Calls(NamedTuple):
    """How the SDK reads and patches one kind of workload."""

    read: Callable[..., Any]
    patch: Callable[..., Any]


class Api:
    """The client of one API server.

    `authenticate` gives an Entra token for AKS, cached and refreshed; `refused` hears that the API
    server did not take it, so that the next one is another.
    """

    def __init__(
        self,
        name: str,
        settings: config.Cluster,
        authenticate: Callable[[], Secret],
        refused: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._refused = refused
        self.client = _sdk_client(name, settings, authenticate)
        self.client.rest_client.pool_manager.pool_classes_by_scheme = POOLS
        self.core = client.CoreV1Api(self.client)
        self.apps = client.AppsV1Api(self.client)
        self.batch = client.BatchV1Api(self.client)
        self.discovery = client.DiscoveryV1Api(self.client)
        self.custom = client.CustomObjectsApi(self.client)

    def of(self, kind: Kind) -> Calls:
        """The SDK's calls for a kind of workload."""
        match kind:
            case "Deployment":
                apps = self.apps
                return Calls(apps.read_namespaced_deployment, apps.patch_namespaced_deployment)
            case "StatefulSet":
                apps = self.apps
                return Calls(apps.read_namespaced_stateful_set, apps.patch_namespaced_stateful_set)
            case "DaemonSet":
                apps = self.apps
                return Calls(apps.read_namespaced_daemon_set, apps.patch_namespaced_daemon_set)
            case _:
                assert_never(kind)

    def watch(
        self, listing: Any, namespace: str, seconds: float, **selection: str
    ) -> Iterator[JsonObject]:
        """The events of what a call lists, until `seconds` are over or the API server ends them.

        The caller repeats.
        """
        follow: Any = watch.Watch
        stream = follow().stream(
            listing,
            namespace,
            timeout_seconds=max(1, int(seconds)),
            _request_timeout=(TIMEOUT[0], seconds + TIMEOUT[1]),
            **selection,
        )
        try:
            yield from cast("Iterator[JsonObject]", stream)
        except ApiException as error:
            if error.status != 410:  # the history we asked from is gone
                raise

    @contextmanager
    def translated(self, verb: str, thing: str) -> Iterator[None]:
        """Turns what the SDK raises in here into an `EdgeError` that says what was tried."""
        what = f"cluster {self.name} could not {verb} {thing}"
        try:
            yield
        except ApiException as error:
            if error.status == 401:
                self._refused()
            raise refusal_in(what, error) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            text = f"{what}: {type(error).__name__}; is its API reachable?"
            raise Unavailable(Code.CLUSTER_UNAVAILABLE, text) from None
        except STRANGE as error:
            # What the SDK makes of an answer that is none of this API's: a proxy's in front of it,
            # perhaps, while it starts.
            text = f"{what}: {type(error).__name__}; what answers is no Kubernetes API"
            raise Unavailable(Code.CLUSTER_ANSWER, text) from None


def resource_version(metadata: Any) -> str:
    """The version of an object or a list, for a watch to begin at."""
    return str(metadata.resource_version or "0")


def uid_of(metadata: Any) -> str | None:
    """The uid of an object, which tells it from a later one of the same name."""
    return str(metadata.uid) if metadata is not None and metadata.uid else None


def refusal(what: str, status: int, document: object, retry_after: str | None) -> EdgeError:
    """The error for what the API server refused.

    Of its `document` only its reason is told, and the fields that it names; of its message only
    whether known words are in it.
    """
    said = document.get("message") if isinstance(document, dict) else None
    message = said if isinstance(said, str) else ""
    text = f"{what}: HTTP {status} {words(document)}".rstrip()
    if policy := POLICY.search(message):
        denied = f"{what}: HTTP {status}, denied by the guard's policy {policy[1]}"
        return _denied(Code.CLUSTER_GUARDED, denied)
    if error := _admission(what, status, message):
        return error
    if status == 403 and (right := RIGHT.search(message)):
        return _denied(Code.PROXY_DENIED if right[1] else Code.CLUSTER_DENIED, text)
    if status == 0:
        text += "; is its API reachable, and its authority the right one?"
    if status == 404 and "NotFound" not in text:
        # Not the API's word on the object: it does not serve this path yet, or a proxy answers.
        text += "; is that kind installed there, or does a proxy answer?"
        return Unavailable(Code.CLUSTER_UNAVAILABLE, text)
    return http_status.error(CODES, text, status, retry_after)


def _denied(code: Code, text: str) -> EdgeError:
    return Denied(code, f"{text}; {code.remedy}")


def words(document: object) -> str:
    """The known words of a Status: its reason and the fields of its causes.

    Anybody may answer in its name, a workload behind the proxy or an admission webhook.
    """
    if not isinstance(document, dict):
        return ""
    reason = document.get("reason")
    known = [reason] if isinstance(reason, str) and reason in REASONS else []
    details = document.get("details")
    causes = details.get("causes") if isinstance(details, dict) else None
    listed = causes if isinstance(causes, list) else []
    fields = [cause.get("field") for cause in listed if isinstance(cause, dict)]
    named = {_known_field(field) for field in fields if isinstance(field, str)} - {""}
    return " ".join([*known, ", ".join(sorted(named))]).strip()


def _known_field(path: str) -> str:
    """A field's path as far as its parts are known: of `data[a key]` the first, `data`."""
    end = 0
    for part in re.finditer(r"[^.\[\]]+", path[:LONGEST_FIELD]):
        if part[0] not in FIELDS and not part[0].isdecimal():
            break
        end = part.end()
    return path[:end] + ("]" if path[end : end + 1] == "]" else "")


def refusal_in(what: str, error: ApiException) -> EdgeError:
    """The error for a refusal that the SDK raised."""
    try:
        document = json.loads(error.body or "")
    except (ValueError, RecursionError):
        document = None
    headers = error.headers or {}
    return refusal(what, int(error.status or 0), document, headers.get("Retry-After"))


def _admission(what: str, status: int, message: str) -> EdgeError | None:
    """The error for what admission had against a change, whatever status it has for it; None if
    the message is not about that."""
    if WEBHOOK_DENIED.search(message):
        text = f"{what}: HTTP {status}, an admission webhook denied the request"
        return Denied(Code.CLUSTER_ADMISSION, text)
    if OTHER_POLICY.search(message):
        text = f"{what}: HTTP {status}, an admission policy denied the request"
        return Denied(Code.CLUSTER_POLICY, text)
    if status == 403 and QUOTA.search(message):
        return Unavailable(Code.CLUSTER_QUOTA, f"{what}: HTTP {status}, exceeded quota")
    if status >= 500 and WEBHOOK_DOWN.search(message):
        text = f"{what}: HTTP {status}, failed calling an admission webhook"
        return Unavailable(Code.CLUSTER_WEBHOOK, text)
    return None


def _sdk_client(
    name: str, settings: config.Cluster, authenticate: Callable[[], Secret]
) -> client.ApiClient:
    """The SDK's client of a cluster, by a kubeconfig or by an Entra token."""
    # The orchestrator repeats: urllib3 would sleep for as long as a Retry-After says.
    configuration = client.Configuration(retries=False)
    if settings.kubeconfig is not None:
        _read_kubeconfig(name, settings.kubeconfig, settings.context, configuration)
        return client.ApiClient(configuration)
    configuration.host = settings.server or ""
    _trust(configuration, settings.certificate_authority)

    def refresh(current: client.Configuration) -> None:
        current.api_key["BearerToken"] = f"Bearer {authenticate().reveal()}"

    # The SDK annotates the attribute as None.
    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]
    # The hook runs only where a key is set already; this one never leaves.
    configuration.api_key["BearerToken"] = "unset"
    return client.ApiClient(configuration)


def _read_kubeconfig(
    name: str, path: str, context: str | None, configuration: client.Configuration
) -> None:
    """Fills the SDK's configuration from a kubeconfig file. Raises `Invalid`."""
    load: Callable[..., None] = load_kube_config
    try:
        load(path, context, client_configuration=configuration, persist_config=False)
        token_file = _token_file(path, context)
    except Exception as error:  # noqa: BLE001 - of a file that is not one, the SDK raises anything
        raise Invalid(
            Code.CLUSTER_SETTINGS,
            f"cluster {name}: kubeconfig {path} cannot be used: "
            f"{type(error).__name__}; check the path and the context",
        ) from None
    if token_file is not None:
        _follow(name, token_file, configuration)


def _follow(name: str, token_file: Path, configuration: client.Configuration) -> None:
    """Has the token read from its file for each request: whoever wrote it writes newer ones.

    The SDK reads it once; https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/ has it
    read again, and taken before a `token`.
    """

    def refresh(current: client.Configuration) -> None:
        try:
            token = token_file.read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            text = f"cluster {name}: token file {token_file} cannot be read: {type(error).__name__}"
            raise Invalid(Code.CLUSTER_SETTINGS, text) from None
        current.api_key["BearerToken"] = f"Bearer {token}"

    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment]
    configuration.api_key["BearerToken"] = "unset"


def _token_file(path: str, context: str | None) -> Path | None:
    """The token file of the context's user, relative to the file that names it; None without one.

    Raises anything, as the SDK does, for what is no kubeconfig.
    """
    merge: Any = KubeConfigMerger  # the SDK has no types for it
    config = merge(path).config
    chosen = config["contexts"].get_with_name(context or config["current-context"])["context"]
    user: Any = config["users"].get_with_name(chosen.safe_get("user"), safe=True)
    named = ((user.safe_get("user") if user else None) or {}).get("tokenFile")
    return None if named is None else Path(user.path).parent / named


def _trust(configuration: client.Configuration, authority: str | None) -> None:
    """Trusts a certificate authority, which is PEM text or a file's path. Raises `Invalid`."""
    if authority is None:
        return
    if authority.lstrip().startswith("-----BEGIN"):
        configuration.ca_cert_data = authority
        return
    if not _is_file(authority):
        text = f"certificateAuthority {authority} is neither PEM text nor a file"
        raise Invalid(Code.CLUSTER_SETTINGS, text)
    configuration.ssl_ca_cert = authority


def _is_file(path: str) -> bool:
    """Whether a text is the path of a file; it may be too long for a path."""
    try:
        return Path(path).is_file()
    except OSError:  # too long for a path
        return False
