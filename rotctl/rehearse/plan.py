"""What is to be rehearsed: one Deployment's pods, one port of one Service, and how much load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rotctl.adopt.original import Object

# Of Microsoft's registry, which AKS nodes reach wherever they reach anything.
IMAGE = "mcr.microsoft.com/azurelinux/distroless/python:3.12-nonroot"
LEAVING, STAYING = "leaving", "staying"


@dataclass(frozen=True)
class Load:
    """Clients that keep connections, requests a second of each, seconds of it before and after each
    event, and seconds that a client waits for an answer."""

    path: str = ""
    connections: int = 8
    rate: float = 5.0
    steady: float = 5.0
    patience: float = 10.0
    https: bool = False
    name: str = ""  # of the `Host` header


@dataclass(frozen=True)
class Plan:
    """`template` is that of the pods that serve, `labels` what the copies keep of its labels and
    `port` the entry of the Service's spec. `seconds` are all that a rehearsal may take."""

    namespace: str
    deployment: str
    template: Object
    labels: dict[str, str]
    service: str
    port: Object
    load: Load = Load()
    seconds: float = 600.0
    image: str = IMAGE
    pull_secrets: tuple[str, ...] = ()
    tells: tuple[str, ...] = ()
    framework: str = ""  # as whoever rehearses says
    guess: str = ""  # by the pods' command line, where their answers do not say it

    @property
    def grace(self) -> float:
        """Seconds that a pod has to end."""
        spec = self.template.get("spec") or {}
        return float(spec.get("terminationGracePeriodSeconds", 30))
