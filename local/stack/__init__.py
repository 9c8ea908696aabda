"""The whole local stack: launcher, provisioner, owner of the world, caller, fault desk."""

from __future__ import annotations

from local.stack.client import Answer, Client
from local.stack.launcher import Options, Stack
from local.stack.owner import APP, ENGINEER, OwnCredential, Owner
from local.stack.parts import Parts
from local.stack.provisioner import PODS, Provisioner

__all__ = [
    "APP",
    "ENGINEER",
    "PODS",
    "Answer",
    "Client",
    "Options",
    "OwnCredential",
    "Owner",
    "Parts",
    "Provisioner",
    "Stack",
]
