"""The local stack with what the guide starts from: one login, one secret, one Deployment."""

from __future__ import annotations

import secrets
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import make_conninfo

from local import world
from local.cluster.auth import MASTERS
from local.cluster.client import apply, read_manifests
from local.practice import guide
from local.process import wait_until
from local.stack import APP, PODS, Provisioner, Stack
from local.storage import made_once, write_private
from rotation.secrecy import Secret, new_password

if TYPE_CHECKING:
    from local.stack import Owner, Parts
    from rotation.config import Credential

ADMIN = "pgadmin"
VAULT = "kv-orders"
BREAK_GLASS = "44444444-4444-4444-4444-444444444444"  # of the guard, as the guide has it
OWNED = """
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    item text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    created timestamptz NOT NULL DEFAULT now()
);
CREATE VIEW recent AS SELECT * FROM orders WHERE created > now() - interval '1 day';
CREATE FUNCTION total() RETURNS bigint LANGUAGE sql AS 'SELECT sum(quantity) FROM orders';
"""


class OneSlotProvisioner(Provisioner):
    """The database's administrator is no superuser: on Azure nobody is one."""

    begins_with = "database with one login role, its secret"
    namespaces = ("orders",)

    def __init__(self, parts: Parts, owner: Owner, password: Secret) -> None:
        super().__init__(parts, owner)
        self.admin_password = password
        self.first = new_password()

    def as_role(self, role: str, password: Secret) -> str:
        dsn = self.owner.dsn("orders")
        return make_conninfo(dsn, user=role, password=password.reveal(), sslmode="disable")

    def login(self, credential: Credential) -> None:  # noqa: ARG002 - the guide writes one later
        with psycopg.connect(self.owner.dsn(), autocommit=True) as superuser:
            _create(superuser, ADMIN, "LOGIN CREATEROLE CREATEDB", self.admin_password)
            grant = "GRANT pg_signal_backend, pg_read_all_stats TO {} WITH ADMIN OPTION"
            superuser.execute(sql.SQL(grant).format(sql.Identifier(ADMIN)))
        own = make_conninfo(self.as_role(ADMIN, self.admin_password), dbname="postgres")
        with psycopg.connect(own, autocommit=True) as admin:
            _create(admin, "orders_app", "LOGIN", self.first)
            admin.execute("CREATE DATABASE orders")
        with psycopg.connect(self.as_role(ADMIN, self.admin_password)) as admin:
            admin.execute("GRANT CREATE ON SCHEMA public TO orders_app")
        with psycopg.connect(self.as_role("orders_app", self.first)) as application:
            application.execute(OWNED.encode())
        self.keep_secret()

    def keep_secret(self) -> None:
        """Puts the login into the vault, as its owner has done."""
        self.put_secret("orders-db", self.first, timedelta(days=20))

    def workloads(self, replicas: int, warm_up: float = 0) -> None:
        del replicas, warm_up  # the guide's manifest says how many
        manifests = localised(self.parts, guide.file("start.yaml"))
        apply(self.owner.kubernetes, manifests)
        ready = self.owner.ready
        wait_until(lambda: ready("orders", "api"), 60, "Deployment orders/api being ready")


def localised(parts: Parts, manifests: str) -> list[dict[str, Any]]:
    return [
        world.localised(manifest, parts.addresses, app=APP.principal_id, pods=PODS.client_id)
        for manifest in read_manifests(manifests)
    ]


class OneSlot(Stack):
    """The host starts once there is a credentials.yaml: the guide's folder has one."""

    world: ClassVar[str] = "one slot"

    @cached_property
    def provisioner(self) -> OneSlotProvisioner:
        return OneSlotProvisioner(self, self.owner, self.admin_password)

    @cached_property
    def admin_password(self) -> Secret:
        """The database administrator's. Those of slots and their like are longer."""
        made = made_once(self.directory / ADMIN, lambda: secrets.token_urlsafe(24).encode())
        return Secret(made.decode())

    def own_values(self, credentials: str) -> dict[str, Any]:
        """A credentials.yaml with this machine's addresses where an environment has its own."""
        found: dict[str, Any] = yaml.safe_load(credentials)
        for cluster in found["clusters"].values():
            cluster["server"] = self.components["cluster"].url
            cluster["certificateAuthority"] = str(self.addresses.authority)
        local = {"host": "127.0.0.1", "port": self.addresses.database_port, "sslmode": "disable"}
        for credential in found["credentials"].values():
            credential["vault"] = self.addresses.vault
            credential["database"] |= local
        return found

    @property
    def has_configuration(self) -> bool:
        return self.kept.facts.credentials is not None

    def start_host(self) -> None:
        if self.has_configuration and "host" not in self.components:
            if self.options.credentials is not None:
                self.use(self._localised(self.options.credentials))
            super().start_host()

    def _localised(self, credentials: Path) -> Path:
        """A copy with this machine's addresses, of what `rotctl adopt` has written for Azure."""
        own = self.own_values(credentials.read_text(encoding="utf-8"))
        return Path(self._write("credentials.yaml", own))

    def write_configuration(self) -> None:
        """Nothing: whoever practises writes it."""

    def variables(self) -> dict[str, str]:
        """What the guide's commands find in their environment."""
        return {
            "VAULT": VAULT,
            "APP_URL": f"http://127.0.0.1:{self.kept.port('host')}",
            "KEY": self.keys["function"],
            "APP_IDENTITY": APP.principal_id,
            "BREAK_GLASS": BREAK_GLASS,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.addresses.database_port),
            "PGDATABASE": "orders",
            "PGUSER": ADMIN,
            "PGPASSFILE": str(self.password_file()),
            "PGSSLMODE": "disable",
            "KUBECONFIG": self._path("cluster", "kubeconfig"),
        }

    def password_file(self) -> Path:
        """The administrator's password as libpq reads it."""
        path = self.directory / "pgpass"
        server = f"127.0.0.1:{self.addresses.database_port}:*"
        write_private(path, f"{server}:{ADMIN}:{self.admin_password.reveal()}\n".encode())
        return path

    def vault_for_stand_ins(self) -> dict[str, str]:
        """Where the stand-in of `az` finds the vault, and signs in to it."""
        return {
            "url": self.addresses.vault,
            "identity": self._path("identity"),
            "authority": str(self.addresses.authority),
        }

    def in_break_glass(self) -> Path:
        """A kubeconfig of the administrator who takes that group on, as `--as-group` does."""
        own = self.directory / "cluster" / "kubeconfig"
        found = yaml.safe_load(own.read_text(encoding="utf-8"))
        found["users"][0]["user"] |= {"as": "oncall", "as-groups": [MASTERS, BREAK_GLASS]}
        path = own.with_name("kubeconfig-break-glass")
        write_private(path, yaml.safe_dump(found).encode())
        return path


def _create(
    connection: psycopg.Connection[tuple[Any, ...]], role: str, options: str, password: Secret
) -> None:
    """With a verifier that is made here: the server logs the statements it gets."""
    verifier = connection.pgconn.encrypt_password(
        password.reveal().encode(), role.encode(), b"scram-sha-256"
    ).decode()
    statement = sql.SQL(f"CREATE ROLE {{}} {options} PASSWORD {{}}")
    connection.execute(statement.format(sql.Identifier(role), sql.Literal(verifier)))
