"""A real Kubernetes control plane on 127.0.0.1: etcd, kube-apiserver, kube-controller-manager.

Their data is below one folder, and each is ended by its own process id. There is no node: pods are
made, and stay pending unless `kubelet` runs.
"""

from __future__ import annotations

import csv
import http.client
import io
import json
import secrets
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from local.cluster.client import connect, write_kubeconfig
from local.process import Component, die_with_parent, free_port, wait_until
from local.storage import private_directory, write_private
from local.tls import Authority

START = 90.0  # seconds: a first start on a busy machine
GRACE = 15.0  # seconds between SIGTERM and SIGKILL
CONTROLLERS = (
    *("deployment-controller", "replicaset-controller", "endpoints-controller"),
    *("statefulset-controller", "daemonset-controller"),
    *("endpointslice-controller", "namespace-controller", "garbage-collector-controller"),
    *("job-controller", "cronjob-controller", "ttl-after-finished-controller"),
    "validatingadmissionpolicy-status-controller",
    *("resourcequota-controller", "disruption-controller"),
)
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


class User(NamedTuple):
    """Somebody who has a token of this API server."""

    name: str
    groups: tuple[str, ...] = ()


ADMIN = User("admin", ("system:masters",))
CONTROLLER = User("system:kube-controller-manager", ("system:masters",))


class ControlPlane:
    """`binaries`: the folder that tests.kubernetes.build made. `users` are known beside ADMIN.

    With `identity`, the state directory of the local identity endpoint, its tokens are taken too.
    `authority` is the directory of the authority that vouches for the API server.
    """

    def __init__(
        self,
        binaries: Path,
        folder: Path,
        users: tuple[User, ...],
        *,
        identity: Path | None = None,
        authority: Path | None = None,
    ) -> None:
        self._binaries = binaries
        self.folder = private_directory(folder)
        self._users = {user: secrets.token_urlsafe(24) for user in (ADMIN, CONTROLLER, *users)}
        self.identity = identity
        # A Unix socket's path has to be short: the folder of a test may be too deep.
        self._short = tempfile.TemporaryDirectory(prefix="control-")
        self.proxy = Path(self._short.name) / "proxy"
        self.sign_in = free_port()
        self._running: list[subprocess.Popen[bytes]] = []
        self._etcd, self._port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.authority = Authority(authority or folder / "tls")
        self.audit = folder / "audit.log"

    def __enter__(self) -> Self:
        try:
            self._start_etcd()
            self._start_server()
            self._start_controllers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """In the reverse order of their start."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()
        self._short.cleanup()

    def token(self, user: User) -> str:
        return self._users[user]

    def token_file(self, user: User) -> Path:
        path = self.folder / f"token-{user.name.replace(':', '-')}"
        write_private(path, self.token(user).encode())
        return path

    def kubeconfig(self, user: User) -> Path:
        return write_kubeconfig(
            self.folder / f"kubeconfig-{user.name.replace(':', '-')}",
            server=self.url,
            authority=self.authority.bundle,
            token=self.token(user),
            name="real",
        )

    def client(self, user: User) -> Any:
        return connect(self.kubeconfig(user))

    def create(self, path: str, body: dict[str, Any]) -> None:
        """As its administrator, of a kind that the local cluster may not know."""
        client = self.client(ADMIN)
        parts = client.param_serialize("POST", path, body=body, auth_settings=["BearerToken"])
        method, url, headers, sent, *_ = parts
        headers = {**headers, "Content-Type": "application/json"}
        response = client.call_api(method, url, headers, sent).response
        if response.status >= 300:
            raise RuntimeError(f"POST {path}: HTTP {response.status} {response.read().decode()}")
        client.close()

    def items(self, path: str) -> list[dict[str, Any]]:
        """Those of a list, as its administrator sees them."""
        client = self.client(ADMIN)
        parts = client.param_serialize("GET", path, auth_settings=["BearerToken"])
        found: list[dict[str, Any]] = json.loads(client.call_api(*parts).response.read())["items"]
        client.close()
        return found

    def events(self) -> list[dict[str, Any]]:
        """The audit log."""
        lines = self.audit.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def _start_etcd(self) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{free_port()}"
        self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"),
            *(f"--initial-cluster=default={peer}", "--unsafe-no-fsync", "--log-level=warn"),
        )

    def _start_server(self) -> None:
        serving = self.authority.issue("kube-apiserver")
        accounts = self.authority.issue("service-accounts")
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            *("--bind-address=127.0.0.1", f"--secure-port={self._port}"),
            *(f"--tls-cert-file={serving.certificate}", f"--tls-private-key-file={serving.key}"),
            f"--token-auth-file={self._tokens()}",
            *("--authorization-mode=RBAC", "--allow-privileged=true"),
            # Pods need no account here: nothing mounts its token.
            "--disable-admission-plugins=ServiceAccount",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={accounts.certificate}",
            f"--service-account-signing-key-file={accounts.key}",
            *("--service-cluster-ip-range=10.96.0.0/16", "--endpoint-reconciler-type=none"),
            *(f"--audit-log-path={self.audit}", "--audit-log-mode=blocking-strict"),
            f"--audit-policy-file={self._document('audit-policy', AUDIT)}",
            f"--egress-selector-config-file={self._egress()}",
            *self._sign_in(),
        )
        wait_until(lambda: self._is_ready(self._port, "/readyz"), START, "the API server's start")

    def _egress(self) -> Path:
        """Pods are reached through the kubelet's proxy."""
        transport = {"uds": {"udsName": str(self.proxy)}}
        connection = {"proxyProtocol": "HTTPConnect", "transport": transport}
        document = {
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{"name": "cluster", "connection": connection}],
        }
        return self._document("egress", document)

    def _sign_in(self) -> tuple[str, ...]:
        """Tokens that are in no file are reviewed by the kubelet."""
        if self.identity is None:
            return ()
        named = {"name": "reviews"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**named, "cluster": {"server": f"http://127.0.0.1:{self.sign_in}/"}}],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "reviews", "user": "reviews"}}],
            "current-context": "reviews",
        }
        return (
            f"--authentication-token-webhook-config-file={self._document('reviews', document)}",
            "--authentication-token-webhook-version=v1",
        )

    def _start_controllers(self) -> None:
        port = free_port()
        self._run(
            "kube-controller-manager",
            f"--kubeconfig={self.kubeconfig(CONTROLLER)}",
            f"--controllers={','.join(CONTROLLERS)}",
            *("--leader-elect=false", "--bind-address=127.0.0.1", f"--secure-port={port}"),
            f"--cert-dir={self.folder / 'controllers'}",
            "--authorization-always-allow-paths=/healthz",
        )
        wait_until(lambda: self._is_ready(port, "/healthz"), START, "the controllers' start")

    def _run(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running.append(
                subprocess.Popen(  # noqa: S603 - this module's own arguments
                    [str(self._binaries / name), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent,  # noqa: PLW1509 - prctl only, no locks taken
                )
            )

    def _is_ready(self, port: int, path: str) -> bool:
        if any(process.poll() is not None for process in self._running):
            raise RuntimeError(
                f"the control plane ended at its start; its logs are in {self.folder}"
            )
        # No token is sent, and the controllers' certificate is one that they made themselves.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=5)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.HTTPStatus.OK
        except OSError:
            return False
        finally:
            connection.close()

    def _tokens(self) -> Path:
        """Kubernetes' static token file: token, name, uid, groups in one field."""
        text = io.StringIO()
        for user, token in self._users.items():
            csv.writer(text).writerow([token, user.name, user.name, ",".join(user.groups)])
        path = self.folder / "tokens.csv"
        write_private(path, text.getvalue().encode())
        return path

    def _document(self, name: str, content: object) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        return path


def kubelet(
    plane: ControlPlane,
    images: Path,
    *,
    vault_authority: Path | None = None,
    environment: dict[str, str] | None = None,
) -> Component:
    """The node of a control plane that runs, as tests.kubernetes.kubelet describes it."""
    arguments = {
        "--server": plane.url,
        "--ca": plane.authority.bundle,
        "--token-file": plane.token_file(CONTROLLER),
        "--images": images,
        "--state": plane.folder / "kubelet",
        "--proxy": plane.proxy,
    }
    if plane.identity is not None:
        arguments |= {"--identity-state": plane.identity, "--sign-in": plane.sign_in}
    if vault_authority is not None:
        arguments["--vault-ca"] = vault_authority
    argv = [sys.executable, "-m", "tests.kubernetes.kubelet"]
    argv += [str(part) for pair in arguments.items() for part in pair]
    return Component("kubelet", argv, plane.folder / "kubelet.log", environment)
