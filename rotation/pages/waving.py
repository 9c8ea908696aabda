"""The pages of waves: a list, and one for each, where it can be cancelled.

The form that cancels has a page of its own (`?do=cancel`), as a rotation's: a GET changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rotation.front import sites, waves
from rotation.front.problems import Problem, text
from rotation.model.reasons import Code
from rotation.model.waves import WaveCancel
from rotation.pages import acting, forms, rendering, views

if TYPE_CHECKING:
    from collections.abc import Mapping

    import azure.functions as func
    from azure.durable_functions import DurableOrchestrationClient as Client

    from rotation.contracts.edges import Readers
    from rotation.model.waves import Wave
    from rotation.pages.visitors import Visitor


@dataclass(frozen=True)
class Offer:
    """The form that cancels a wave. `barred` says why this visitor may not; `opens` is the address
    of the form, `shuts` that of the page without it."""

    token: str
    action: str
    opens: str
    shuts: str
    barred: str | None


async def listing(edges: Readers, client: Client, who: Visitor) -> func.HttpResponse:
    """The page of all waves, with what somebody sees of them."""
    found = await waves.listing(edges, client, who.decider)
    return rendering.page(
        "waves.html",
        200,
        edges.now(),
        set_cookie=who.set_cookie,
        visitor=who,
        waves=found,
        wave_path=who.wave_path,
        far=views.wave_far,
    )


async def one(
    edges: Readers, client: Client, req: func.HttpRequest, who: Visitor, name: str
) -> func.HttpResponse:
    """The page of a wave, or, for a form that was posted, what it does. Raises `Problem`."""
    found = await waves.existing(edges, client, who.decider, name)
    if req.method == "POST":
        return await _posted(edges, client, req, who, found)
    return _page(edges, who, found, opened=req.params.get("do") == "cancel")


async def _posted(
    edges: Readers, client: Client, req: func.HttpRequest, who: Visitor, found: Wave
) -> func.HttpResponse:
    """Cancels a wave as the form says, and leads back to its page. Raises `Problem`."""
    sites.demand_own(req, edges.settings.public_url)
    given = forms.read(req)
    if not forms.matches(given.get("token", ""), who.secret, *_bound_to(who, found)):
        late = found.cancelling is None
        return _page(edges, who, found, 409 if late else 403, notice=acting.STALE)
    if given.get("sure") != "yes":
        detail = "nothing was done: tick the box that says what happens"
        raise Problem(400, Code.BAD_REQUEST, detail)
    decider = who.decider or acting.named(given)
    wish = WaveCancel(
        by=decider.by,
        channel=decider.channel,
        comment=_comment(given),
        running="cancel" if given.get("running") == "cancel" else "keep",
    )
    await waves.cancel(edges, client, found.wave, decider, wish)
    return rendering.see_other(who.wave_path(found.wave))


def _comment(given: Mapping[str, str]) -> str:
    line = " ".join(given.get("comment", "").split())
    return text({"comment": line}, "comment", longest=2000)


def _bound_to(who: Visitor, found: Wave) -> tuple[str, str, str]:
    """What the form's token is bound to: visitor, wave, and the cancel that it waits for."""
    return who.subject, found.wave, f"cancel {found.cancelling}"


def _page(
    edges: Readers,
    who: Visitor,
    found: Wave,
    status: int = 200,
    *,
    opened: bool = False,
    notice: str = "",
) -> func.HttpResponse:
    offer = _offer(edges, who, found) if found.cancelling is not None else None
    return rendering.page(
        "wave.html",
        status,
        edges.now(),
        set_cookie=who.set_cookie,
        visitor=who,
        wave=found,
        headline=views.wave(found),
        tone=views.wave_tone,
        offer=offer,
        opened=opened and offer is not None,
        notice=notice,
    )


def _offer(edges: Readers, who: Visitor, found: Wave) -> Offer:
    own = who.wave_path(found.wave)
    return Offer(
        token=forms.token(who.secret, *_bound_to(who, found)),
        action=own,
        opens=f"{own}{'&' if '?' in own else '?'}do=cancel",
        shuts=own,
        barred=waves.why_not_cancelled(edges, who.decider, found) if who.decider else None,
    )
