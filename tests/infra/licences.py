"""The licences in a CycloneDX document: printed, and refused where one is not known to us.

    python -m tests.infra.licences FILE      (make sbom)

ACCEPTED is what the project may ship with, as SPDX expressions; a new dependency under another
licence, or under none, needs somebody to read it and add it here.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ACCEPTED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "Unlicense"),
    *("PSF-2.0", "Python-2.0", "MPL-2.0"),
    "LGPL-3.0-only",  # psycopg: used as it is, by import
}
# Read by us: nothing that the document's maker understands names theirs.
READ = {"protobuf": "BSD-3-Clause"}
# What packages write in place of an identifier, as their metadata has it.
SPOKEN = {
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd license": "BSD-3-Clause",
    "freely distributable": "",  # says nothing; what else is named counts
    "public domain": "Unlicense",
    "dual license": "Apache-2.0 OR BSD-3-Clause",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "unlicense": "Unlicense",
}


def main() -> None:
    document = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    listed = sorted(licences(document).items())
    for name, expression in listed:
        sys.stdout.write(f"{name:40} {expression or 'no licence named'}\n")
    refused = [name for name, expression in listed if not accepted(expression)]
    if refused:
        sys.exit(f"read these licences, then add them to {__file__}: {', '.join(refused)}")


def licences(document: dict[str, Any]) -> dict[str, str]:
    """By `name version`; an empty text where a component names none."""
    return {
        f"{found['name']} {found.get('version', '')}": _expression(found)
        or READ.get(found["name"], "")
        for found in document["components"]
    }


def _expression(component: dict[str, Any]) -> str:
    found = set()
    for entry in component.get("licenses", []):
        licence = entry.get("license", {})
        text = entry.get("expression") or licence.get("id") or licence.get("name") or ""
        text = text.rpartition("::")[2].strip()  # of a classifier, its last part
        found.add(SPOKEN.get(text.lower(), text))
    return " AND ".join(sorted(found - {""}))


def accepted(expression: str) -> bool:
    """Every part of an AND, any part of an OR."""
    if not expression:
        return False
    parts = re.split(r"\s+AND\s+", expression)
    return all(
        any(choice.strip("() ") in ACCEPTED for choice in re.split(r"\s+OR\s+", part))
        for part in parts
    )


if __name__ == "__main__":
    main()
