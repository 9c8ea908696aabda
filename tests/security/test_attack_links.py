"""Signed links: of another environment, with a key that can be guessed, and without a vault."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from rotation.links import Expired, Forged, Link, SignedLinks
from rotation.model.errors import ConfigurationError, RotationError, Unavailable
from rotation.model.reasons import Code
from tests.security.attacked import (
    ADA,
    GRACE,
    LINK_KEY,
    NOW,
    ORIGIN,
    STRONG,
    App,
    edges,
    with_key,
)

if TYPE_CHECKING:
    from tests.memory.edges import MemoryEdges

HOUR = timedelta(hours=1)
NEXT = "Zk3Vw9Qe7Tb1Yn5Ux0Mr8Jc4Hd6Gf2SaLpKoIiEu"
THIRD = "b8Nf4Kx2Wq6Zt0Rj5Ly9Hm3Gc7Vd1SpAaEeUuOoIiQ"
GUESSED = {
    "one letter": "a" * 64,
    "two letters": "ab" * 32,
    "a word": "password" * 8,
    "a half twice": "q7Zr2LwPx9TfKj4V" * 2,
    "the alphabet": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "digits in order": "0123456789" * 5,
    "backwards": "zyxwvutsrqponmlkjihgfedcba9876543210",
    "a long tail": "q7Zr2LwPx9" + "0" * 54,
    "a sentence": "this is the key that signs the links of our app",
    "too short": "q7Zr2LwPx9TfKj4VbN8mHc5sDy3GtR",
    "spaces": " " * 64,
    "empty": "",
}


def links(*keys: str, public_url: str = ORIGIN) -> SignedLinks:
    return SignedLinks(place(*keys, public_url=public_url))


def place(*keys: str, public_url: str = ORIGIN) -> MemoryEdges:
    environment = {"ROTATION_LINK_KEY": LINK_KEY, "ROTATION_PUBLIC_URL": public_url}
    return with_key(edges([ADA, GRACE], environment), *keys)


@pytest.mark.guarantee(6)
@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://rotation-test.example",
        "https://rotation.example:8443",
        "http://rotation.example",
        "https://rotation.example/test",
        "https://rotation.example.evil.example",
    ],
)
def test_a_link_of_another_environment_with_the_same_key(elsewhere: str) -> None:
    token = links(STRONG, public_url=elsewhere).mint("r-1", ADA, NOW + HOUR)
    assert links(STRONG).read(token) == Forged()


@pytest.mark.parametrize("same", [ORIGIN.upper(), f"{ORIGIN}/", f"{ORIGIN}:443"])
def test_another_spelling_of_the_same_address_is_no_other_environment(same: str) -> None:
    token = links(STRONG, public_url=same).mint("r-1", ADA, NOW + HOUR)
    assert links(STRONG).read(token) == Link("r-1", ADA, NOW + HOUR)


def test_without_an_address_of_its_own_the_app_makes_no_links() -> None:
    found = edges([ADA], {"ROTATION_LINK_KEY": LINK_KEY, "ROTATION_PUBLIC_URL": ""})
    with pytest.raises(ConfigurationError, match="ROTATION_PUBLIC_URL"):
        SignedLinks(with_key(found, STRONG)).mint("r-1", ADA, NOW + HOUR)


@pytest.mark.guarantee(6)
@pytest.mark.parametrize("key", GUESSED.values(), ids=list(GUESSED))
def test_a_key_that_can_be_guessed_signs_nothing(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        links(key).mint("r-1", ADA, NOW + HOUR)
    assert "ROTATION_LINK_KEY" in caught.value.message
    assert not key.strip() or key not in caught.value.message


@pytest.mark.parametrize("key", GUESSED.values(), ids=list(GUESSED))
def test_a_key_that_can_be_guessed_is_not_accepted_once_a_better_one_is_there(key: str) -> None:
    """The one before is accepted so that mails stay valid: not if anybody can sign with it."""
    found = links(key, STRONG)
    token = found.mint("r-1", ADA, NOW + HOUR)
    assert found.read(token) == Link("r-1", ADA, NOW + HOUR)
    if key:
        claims = {"rotation": "r-1", "to": ADA, "exp": int((NOW + HOUR).timestamp())}
        forged = found._serializer([key]).dumps(claims)  # noqa: SLF001 - no app would sign with it
        assert found.read(str(forged)) == Forged()


def test_keys_as_the_guide_makes_them_are_good_enough() -> None:
    import base64  # noqa: PLC0415 - for this
    from random import Random  # noqa: PLC0415 - as above

    draw = Random(20261124)  # noqa: S311 - the same keys each time: a failure is never luck
    for _ in range(300):
        for key in (
            base64.b64encode(draw.randbytes(48)).decode(),
            draw.randbytes(16).hex(),
            draw.randbytes(32).hex(),
        ):
            links(key).mint("r-1", ADA, NOW + HOUR)


class TestWithoutTheKey:
    """Whatever anybody asks, the vault hears of it seldom."""

    def app(self, *keys: str) -> App:
        app = App([ADA], {"ROTATION_LINK_KEY": LINK_KEY})
        with_key(app.edges, *keys)
        return app

    def calls(self, app: App) -> int:
        return sum("link-key" in call for call in app.edges.calls.reads)

    def open(self, app: App, link: str = "a.b") -> int:
        return app.ask("decision_page", "GET", b"", params={"link": link}).status

    @pytest.mark.parametrize("keys", [[], ["a" * 64]], ids=["none", "unfit"])
    def test_a_key_that_cannot_be_used_is_not_asked_for_again_at_once(
        self, keys: list[str]
    ) -> None:
        app = self.app(*keys)
        assert {self.open(app) for _ in range(20)} == {503}
        assert self.calls(app) <= 4

    def test_a_vault_that_fails_is_left_alone_for_a_while(self) -> None:
        app, asked = self.app(STRONG), []
        before = app.edges.vault

        def vault(url: str) -> Any:
            asked.append(url)
            raise Unavailable(Code.VAULT_UNAVAILABLE, "the vault is away")

        app.edges.vault = vault  # type: ignore[method-assign] # that it is away
        assert {self.open(app) for _ in range(20)} == {503}
        assert len(asked) == 1
        app.edges.vault = before  # type: ignore[method-assign] # it is back
        app.edges.clock.now += timedelta(minutes=1)
        assert self.open(app) == 403

    def test_a_good_key_is_read_once_for_many_bad_links(self) -> None:
        app = self.app(STRONG)
        assert {self.open(app) for _ in range(50)} == {403}
        assert self.calls(app) <= 4

    def test_many_at_once_make_one_look(self) -> None:
        app, begun, free = self.app(STRONG), threading.Event(), threading.Event()
        looks: list[str] = []
        before = app.edges.vault

        def vault(url: str) -> Any:
            looks.append(url)
            begun.set()
            assert free.wait(10)
            return before(url)

        app.edges.vault = vault  # type: ignore[method-assign] # a slow one
        found = SignedLinks(app.edges)
        threads = [threading.Thread(target=found.read, args=["a.b"]) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert begun.wait(10)
        free.set()
        for thread in threads:
            thread.join(10)
        assert len(looks) == 1


class TestKeyChanged:
    def test_mails_that_are_on_their_way_stay_valid(self) -> None:
        token = links(STRONG).mint("r-1", ADA, NOW + HOUR)
        assert links(STRONG, NEXT).read(token) == Link("r-1", ADA, NOW + HOUR)
        assert links(STRONG, NEXT, THIRD).read(token) == Forged()

    def test_a_new_key_is_known_to_an_app_that_has_just_read_the_old_one(self) -> None:
        """Another instance has signed with it meanwhile: the mail must not be called invalid."""
        found = place(STRONG)
        reading = SignedLinks(found)
        assert reading.read("a.b") == Forged()
        with_key(found, NEXT)
        token = SignedLinks(found).mint("r-1", ADA, NOW + HOUR)
        found.clock.now += timedelta(seconds=40)
        assert reading.read(token) == Link("r-1", ADA, NOW + HOUR)

    def test_a_link_ends_as_it_says(self) -> None:
        found = place(STRONG)
        token = SignedLinks(found).mint("r-1", ADA, NOW + HOUR)
        found.clock.now = NOW + HOUR
        assert SignedLinks(found).read(token) == Expired(NOW + HOUR, "r-1", ADA)


def test_what_is_not_there_is_told_without_the_name_it_was_looked_for_by() -> None:
    """That name is what somebody wrote into a setting."""
    for keys in ([], ["a" * 64]):
        with pytest.raises(RotationError) as caught:
            links(*keys).read("a.b")
        assert "link-key" not in caught.value.message
