"""List and watch over the wire."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import ApiException

from tests.local.cluster.support import secret, watching

if TYPE_CHECKING:
    from tests.local.cluster.support import Kube


def labelled(name: str, **labels: str) -> dict[str, Any]:
    manifest = secret(name, k="v")
    manifest["metadata"]["labels"] = labels
    return manifest


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("", ["a", "b", "c"]),
        ("slot=blue", ["a"]),
        ("slot!=blue", ["b", "c"]),
        ("slot in (blue, green)", ["a", "b"]),
        ("slot notin (blue),app=web", ["b"]),
        ("slot", ["a", "b"]),
        ("!slot", ["c"]),
    ],
)
def test_label_selectors(kube: Kube, selector: str, found: list[str]) -> None:
    kube.apply(
        labelled("a", slot="blue", app="web"), labelled("b", slot="green", app="web"), labelled("c")
    )
    items = kube.core.list_namespaced_secret(kube.namespace, label_selector=selector).items
    assert [item.metadata.name for item in items] == found


def test_a_selector_that_cannot_be_read_is_refused(kube: Kube) -> None:
    with pytest.raises(ApiException, match="unable to parse requirement"):
        kube.core.list_namespaced_secret(kube.namespace, label_selector="a b c")


def test_a_field_selector_finds_by_name(kube: Kube) -> None:
    kube.apply(secret("a", k="v"), secret("b", k="v"))
    items = kube.core.list_namespaced_secret(kube.namespace, field_selector="metadata.name=b").items
    assert [item.metadata.name for item in items] == ["b"]


def test_the_pages_of_a_list_show_one_revision(kube: Kube) -> None:
    kube.apply(*(secret(f"s{i}", k="v") for i in range(5)))
    first = kube.core.list_namespaced_secret(kube.namespace, limit=2)
    kube.apply(secret("s9", k="v"))
    kube.core.delete_namespaced_secret("s4", kube.namespace)
    names = [item.metadata.name for item in first.items]
    page = first
    while token := page.metadata.var_continue:
        page = kube.core.list_namespaced_secret(kube.namespace, limit=2, _continue=token)
        assert page.metadata.resource_version == first.metadata.resource_version
        names += [item.metadata.name for item in page.items]
    assert names == ["s0", "s1", "s2", "s3", "s4"]


def test_a_watch_tells_what_happened_since_a_revision(kube: Kube) -> None:
    kube.apply(labelled("before", slot="blue"))
    revision = kube.core.list_namespaced_secret(kube.namespace).metadata.resource_version
    kube.apply(labelled("a", slot="blue"))
    kube.apply(labelled("a", slot="green"))
    kube.core.delete_namespaced_secret("before", kube.namespace)
    events = watching(
        kube.core.list_namespaced_secret,
        kube.namespace,
        label_selector="slot=blue",
        resource_version=revision,
        timeout_seconds=1,
    )
    seen = [(event["type"], event["object"].metadata.name) for event in events]
    assert seen == [("ADDED", "a"), ("DELETED", "a"), ("DELETED", "before")]


def test_a_watch_wakes_up_at_a_change(kube: Kube) -> None:
    writer = threading.Timer(0.2, lambda: kube.apply(secret("late", k="v")))
    writer.start()
    events = watching(kube.core.list_namespaced_secret, kube.namespace, timeout_seconds=20)
    assert next(events)["object"].metadata.name == "late"
    events.close()
    writer.join()


def test_initial_events_end_with_a_bookmark(kube: Kube) -> None:
    kube.apply(secret("a", k="v"))
    query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&timeoutSeconds=1"
    _, text = kube.raw("GET", kube.path(f"secrets?{query}"))
    assert '"k8s.io/initial-events-end": "true"' in text
