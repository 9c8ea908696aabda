"""What the app may change of objects in a cluster: pure data, one row for each resource.

The adapter sends nothing else, and infra/kubernetes/guard.yaml lets nothing else through;
tests/kubernetes/test_patch_table.py compares both with these rows. A path is what leads to a field,
from the top of the object: `*` stands for any key of a map or for each item of a list, SLOT for the
label whose value is the slot, OURS for keys with that prefix.
"""

OURS = "credential-rotation/"
SLOT = "<slot>"

VERSION = f"{OURS}secret-version"  # of the secret that a slot's pods were started with
SEAL = f"{OURS}went-back"  # makes a swap that was prepared before it come to nothing

# By resource, as roles name it.
PATCHED: dict[str, tuple[tuple[str, ...], ...]] = {
    "services": (
        ("metadata", "annotations", OURS),
        ("spec", "selector", SLOT),
    ),
    "deployments": (
        ("metadata", "annotations", OURS),
        ("spec", "replicas"),
        ("spec", "template", "metadata", "annotations", OURS),
        ("spec", "template", "spec", "containers", "*", "image"),
        ("spec", "template", "spec", "initContainers", "*", "image"),
    ),
    "secrets": (
        ("metadata", "annotations", OURS),
        ("data", "*"),
    ),
}

# What each verb of the adapter sends of it; a verb that is not here sends no patch.
VERBS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "select": ("services", (("spec", "selector", SLOT),)),
    "seal": ("services", (("metadata", "annotations", OURS),)),
    "start": (
        "deployments",
        (
            ("spec", "replicas"),
            ("spec", "template", "metadata", "annotations", OURS),
            ("spec", "template", "spec", "containers", "*", "image"),
            ("spec", "template", "spec", "initContainers", "*", "image"),
        ),
    ),
    "scale": ("deployments", (("spec", "replicas"),)),
    "put_secret": ("secrets", (("data", "*"), ("metadata", "annotations", OURS))),
}
