"""What a mail takes from an event."""

from __future__ import annotations

from local.topic.mail import Link, links, mail


def test_links_are_labelled_by_where_they_are() -> None:
    data = {
        "links": {"approve": "https://app/a", "page": "http://app/p"},
        "workloads": [{"name": "api", "url": "https://app/w"}],
        "note": "see https://app/not-a-link-of-its-own",
        "other": ["mailto:a@b", "ftp://x/y", "https://", "https://[broken", 7, None],
    }
    assert list(links(data)) == [
        Link("links.approve", "https://app/a"),
        Link("links.page", "http://app/p"),
        Link("workloads[0].url", "https://app/w"),
    ]


def test_cloud_event() -> None:
    event = {"type": "Rotation.Completed", "subject": "orders-db", "data": {"text": "Done."}}
    assert (mail(event).subject, mail(event).body) == ("Rotation.Completed: orders-db", "Done.")


def test_event_without_data() -> None:
    assert mail({"eventType": "Rotation.Started", "subject": "orders-db"}).links == ()
