"""The page of a link that has expired: it shows nothing of the rotation, and offers a new link."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rotation.front import renewing, sites
from rotation.pages import forms, rendering

if TYPE_CHECKING:
    import azure.functions as func
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Readers
    from rotation.links import Expired

DEED = "renew"


async def page(
    edges: Readers, client: Client, req: func.HttpRequest, link: Expired
) -> func.HttpResponse:
    """The page, or, for its form that was posted, the answer: the same whatever became of it.

    Raises `Problem`, and `Unavailable` where the task hub does not answer.
    """
    secret = req.params.get("link", "")
    bound = link.recipient, link.rotation, DEED
    asked = False
    if req.method == "POST":
        sites.demand_own(req, edges.settings.public_url)
        given = forms.read(req)
        asked = given.get("do") == DEED and forms.matches(given.get("token", ""), secret, *bound)
    if asked:
        await renewing.renew(edges, client, link)
    return rendering.page(
        "expired.html",
        202 if asked else 410,
        edges.now(),
        at=link.at,
        asked=asked,
        posted=req.method == "POST",
        # Without a topic nobody is sent anything.
        offered=edges.settings.topic is not None,
        token=forms.token(secret, *bound),
        link=secret,
        do=DEED,
    )
