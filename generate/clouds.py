"""infra/clouds.json: what the Bicep files need of the table of clouds."""

from __future__ import annotations

from generate.text import document
from rotation.clouds import CLOUDS


def made(_: str) -> str:
    """The text of infra/clouds.json: by cloud, the domain of its PostgreSQL servers."""
    return document(
        {
            name: {"postgresql": cloud.postgresql_hosts.removeprefix(".")}
            for name, cloud in CLOUDS.items()
        }
    )
