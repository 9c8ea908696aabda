"""The rights that docs/rotctl.md says a rehearsal needs."""

from __future__ import annotations

import re
from typing import Any

import yaml

from local.process import ROOT

GUIDE = (ROOT / "docs" / "rotctl.md").read_text(encoding="utf-8")


def role_of_the_guide(user: str) -> list[dict[str, Any]]:
    """The Role as it stands there, and its binding to somebody."""
    (text,) = [
        one for one in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if "rehearsal" in one
    ]
    role = yaml.safe_load(text)
    api = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{api}/v1",
        "kind": "RoleBinding",
        "metadata": role["metadata"],
        "subjects": [{"kind": "User", "name": user, "apiGroup": api}],
        "roleRef": {"kind": "Role", "name": role["metadata"]["name"], "apiGroup": api},
    }
    return [role, binding]
