"""The first value of a secret, as an owner writes it: a rotation only changes what is there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, assert_never
from urllib.parse import quote

from psycopg.conninfo import make_conninfo

from rotation.model.targets import ServerTarget
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from rotation.config import Credential
    from rotation.formats import Format


def server_of(credential: Credential) -> ServerTarget:
    """The server and database that a credential's values name for applications."""
    database = credential.database
    return ServerTarget(*database.serves_at, database.name, database.sslmode)


def rendered(shape: Format, role: str, password: Secret, server: ServerTarget) -> Secret:
    """The value of a vault's secret in a form: the password alone, or all of the login."""
    clear, host, port = password.reveal(), server.host, server.port
    user, signed_in, database = (quote(text, safe="") for text in (role, clear, server.database))
    match shape:
        case "password":
            text = clear
        case "url":
            text = (
                f"postgresql://{user}:{signed_in}@{host}:{port}/{database}?sslmode={server.sslmode}"
            )
        case "jdbc":
            text = (
                f"jdbc:postgresql://{host}:{port}/{database}"
                f"?user={user}&password={signed_in}&sslmode={server.sslmode}"
            )
        case "json":
            document = {"username": role, "password": clear, "host": host, "port": port}
            text = json.dumps({**document, "dbname": server.database, "sslmode": server.sslmode})
        case "libpq":
            text = make_conninfo(
                host=host,
                port=port,
                dbname=server.database,
                user=role,
                password=clear,
                sslmode=server.sslmode,
            )
        case "ado.net":
            values = {
                "Host": host,
                "Port": str(port),
                "Database": server.database,
                "Username": role,
                "Password": clear,
            }
            doubled = ((key, value.replace('"', '""')) for key, value in values.items())
            text = ";".join(f'{key}="{value}"' for key, value in doubled)
        case _:
            assert_never(shape)
    return Secret(text)
