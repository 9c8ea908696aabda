"""`rotation.edges.store` against Blob Storage: the stand-in, or CONTRACT_STORAGE_URL's account, and
Azurite where it is installed.

What `rotation.contracts.store` promises is asked of the store in memory too. What the tests write
has names that begin with `contract-` and stays there.
"""

from __future__ import annotations

import gc
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from azure.identity import DefaultAzureCredential
from azure.storage.blob import BlobServiceClient

from local.durable import parts
from local.process import Component, StartError, free_port
from rotation.contracts.store import CONTAINERS, Container
from rotation.edges.store import BlobStore
from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret
from rotation.settings import Storage
from tests.contract.conftest import Tokens, at_once, faults, needs_the_stand_in, revoked_once
from tests.local.azure.support import ADMIN, APP, READER, Admin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rotation.contracts.store import Store
    from tests.memory import MemoryEdges

URL = os.environ.get("CONTRACT_STORAGE_URL")
PLACES = ("real", "azurite", "memory")


@pytest.fixture(scope="session")
def component(identity: Component, state: Path) -> Iterator[Component]:
    access = state / "containers.json"
    access.write_text(f'{{"{APP.principal_id}": ["{CONTAINERS["records"]}"]}}', encoding="utf-8")
    running = Component.module(
        "blobs",
        *("--state", str(state / "blobs"), "--identity-state", str(state / "identity")),
        *("--access", str(access)),
        log=state / "blobs.log",
        env=ADMIN,
    )
    with running:
        yield running


@pytest.fixture(scope="session")
def azurite(state: Path) -> Iterator[Storage]:
    try:
        parts.azurite()
    except StartError as error:
        pytest.skip(str(error))
    ports = ("--port", "--queue-port", "--table-port")
    arguments = [part for name in ports for part in (name, str(free_port()))]
    running = Component.module(
        "durable.storage", "--state", str(state / "azurite"), *arguments, log=state / "azurite.log"
    )
    running.patience = 60.0
    with running:
        connection = Path(str(running.facts["connectionFile"])).read_text(encoding="utf-8")
        yield Storage(connection=Secret(connection))


class Place:
    """An account, and how to get in."""

    def __init__(self, at: Storage, credential: Any, authority: str | None) -> None:
        self.at, self.credential, self.authority = at, credential, authority

    def edge(self, container: Container = "records", **changes: Any) -> BlobStore:
        values = {"at": self.at, "credential": self.credential, "ca_bundle": self.authority}
        return BlobStore(**{**values, "container": container, **changes})


@pytest.fixture(scope="session")
def place(request: pytest.FixtureRequest, state: Path) -> Place:
    if URL:
        return Place(Storage(url=URL), DefaultAzureCredential(), None)
    running = request.getfixturevalue("component")
    return Place(Storage(url=running.url), Tokens(state), str(running.facts["ca"]))


@pytest.fixture
def blobs(place: Place) -> BlobStore:
    return place.edge()


@pytest.fixture(params=PLACES)
def store(request: pytest.FixtureRequest, memory: MemoryEdges) -> Store:
    if request.param == "memory":
        return memory.store("records")
    if request.param == "azurite":
        return BlobStore(request.getfixturevalue("azurite"), "records", object(), None)  # type: ignore[arg-type]
    found: BlobStore = request.getfixturevalue("blobs")
    return found


@pytest.fixture
def admin(request: pytest.FixtureRequest) -> Iterator[Admin]:
    needs_the_stand_in("CONTRACT_STORAGE_URL")
    yield from faults(request.getfixturevalue("component"))


def test_nothing_is_there_at_first(store: Store, name: str) -> None:
    assert store.read(name) is None
    assert store.names(f"{name}/") == []
    assert store.replace(name, b"later", '"0x1"') is False
    assert store.read(name) is None


@pytest.mark.parametrize("content", [b"", b'{"a": 1}\n', bytes(range(256)) * 1024])
def test_what_was_kept_is_read_as_it_was(store: Store, name: str, content: bytes) -> None:
    assert store.create(name, content) is True
    kept = store.read(name)
    assert kept is not None
    assert (kept.content, bool(kept.tag)) == (content, True)


def test_what_is_there_already_stays(store: Store, name: str) -> None:
    assert store.create(name, b"first")
    before = store.read(name)
    assert store.create(name, b"second") is False
    assert store.read(name) == before


def test_one_of_many_at_once_creates(store: Store, name: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda item: store.create(name, b"%d" % item), range(8)))
    assert sum(made) == 1
    kept = store.read(name)
    assert kept is not None
    assert kept.content == b"%d" % made.index(True)


def test_only_what_was_read_is_replaced(store: Store, name: str) -> None:
    store.create(name, b"first")
    first = store.read(name)
    assert first is not None
    assert store.replace(name, b"second", first.tag) is True
    second = store.read(name)
    assert second is not None
    assert second.content == b"second"
    assert second.tag != first.tag
    assert store.replace(name, b"third", first.tag) is False
    assert store.read(name) == second


def test_what_is_removed_is_gone_and_may_come_again(store: Store, name: str) -> None:
    for each in (name, f"{name}.other"):
        assert store.create(each, b"first")
    before = store.read(name)
    assert before is not None
    for _ in range(2):
        store.remove(name)
    assert store.read(name) is None
    assert store.replace(name, b"second", before.tag) is False
    assert store.names(name) == [f"{name}.other"]
    assert store.create(name, b"second") is True


def test_names_come_in_their_order_and_in_parts(store: Store, name: str) -> None:
    known = [f"{name}/{part}" for part in ("0-a", "0.b", "0/c", "1~x", "A", "_", "a", "b/~c")]
    for each in [*reversed(known), f"{name}0/other"]:
        assert store.create(each, b"")
    assert store.names(f"{name}/") == known
    assert store.names(f"{name}/", most=3) == known[:3]
    assert store.names(f"{name}/", after=known[2], most=3) == known[3:6]
    assert store.names(f"{name}/", after=f"{name}/1") == known[3:]  # which nobody has
    assert store.names(f"{name}/", after=known[-1]) == []
    assert store.names(f"{name}/", after="") == known
    assert store.names(f"{name}/0", after=known[0]) == known[1:3]


@pytest.mark.parametrize("page", [1, 2, 5])
def test_a_list_longer_than_an_answer(
    blobs: BlobStore, name: str, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    """As with 5000 names in one answer, and more of them in the container."""
    known = [f"{name}/{number}" for number in range(5)]
    for each in known:
        blobs.create(each, b"")
    monkeypatch.setattr("rotation.edges.store.LARGEST_PAGE", page)
    assert blobs.names(f"{name}/") == known
    assert blobs.names(f"{name}/", after=known[1], most=2) == known[2:4]


def test_containers_are_apart(memory: MemoryEdges, name: str) -> None:
    assert memory.store("records").create(name, b"")
    assert memory.store("notes").read(name) is None
    assert CONTAINERS["records"] != CONTAINERS["notes"]


def test_the_app_may_have_no_account(memory: MemoryEdges) -> None:
    memory.world.stores = None
    with pytest.raises(Missing) as caught:
        memory.store("records")
    assert caught.value.code is Code.STORAGE_UNSET


def test_another_container_needs_a_grant_of_its_own(place: Place, admin: Admin, name: str) -> None:
    other = place.edge("notes")
    for call in (
        lambda: other.read(name),
        lambda: other.names(""),
        lambda: other.create(name, b""),
        lambda: other.replace(name, b"", '"0x1"'),
    ):
        with pytest.raises(Denied) as caught:
            call()
        assert caught.value.code is Code.STORAGE_DENIED


Refusal = tuple[int, str | None, type[EdgeError], Code]
CAUSES: list[Refusal] = [
    (403, "AuthenticationFailed", Denied, Code.STORAGE_TOKEN),  # a key that does not fit
    (403, "AuthorizationFailure", Denied, Code.STORAGE_FIREWALL),
    (403, "AuthorizationPermissionMismatch", Denied, Code.STORAGE_DENIED),
    (403, None, Denied, Code.STORAGE_DENIED),
    (429, None, Unavailable, Code.STORAGE_UNAVAILABLE),
    (500, None, Unavailable, Code.STORAGE_UNAVAILABLE),
    (503, None, Unavailable, Code.STORAGE_UNAVAILABLE),
    (400, None, Invalid, Code.STORAGE_ERROR),
    (404, None, Missing, Code.STORAGE_MISSING),
    (409, None, EdgeError, Code.STORAGE_ERROR),
]


@pytest.mark.parametrize("verb", ["read", "names", "create", "replace"])
@pytest.mark.parametrize("refusal", CAUSES, ids=str)
def test_what_the_account_refuses(
    blobs: BlobStore, admin: Admin, name: str, verb: str, refusal: Refusal
) -> None:
    status, cause, error, code = refusal
    admin.fault(status=status, cause=cause, retry_after=30, times=2)
    with at_once(30), pytest.raises(error) as caught:
        called(blobs, verb, name)
    assert caught.value.code is code
    assert name in caught.value.message
    if isinstance(caught.value, Unavailable):
        assert caught.value.retry_after == 30


def called(store: Store, verb: str, name: str) -> object:
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(name),
        "names": lambda: store.names(name),
        "create": lambda: store.create(name, b"x"),
        "replace": lambda: store.replace(name, b"x", '"0x1"'),
    }
    return calls[verb]()


def test_an_answer_that_is_lost_leaves_what_was_written(
    blobs: BlobStore, admin: Admin, name: str
) -> None:
    blobs.create(f"{name}-first", b"")  # the container is there
    admin.fault(match={"method": "PUT"}, drop="after")
    with pytest.raises(Unavailable) as caught:
        blobs.create(name, b"once")
    assert caught.value.code is Code.STORAGE_UNAVAILABLE
    assert blobs.create(name, b"twice") is False
    kept = blobs.read(name)
    assert kept is not None
    assert kept.content == b"once"


def test_a_token_that_is_refused_is_forgotten(place: Place, state: Path, name: str) -> None:
    needs_the_stand_in("CONTRACT_STORAGE_URL")
    kept = revoked_once(Tokens(state))
    store = place.edge(credential=kept, refused=kept.forget)
    with pytest.raises(Denied) as caught:
        store.read(name)
    assert caught.value.code is Code.STORAGE_TOKEN
    assert store.read(name) is None


def test_who_has_no_grant_is_refused(place: Place, state: Path, name: str) -> None:
    needs_the_stand_in("CONTRACT_STORAGE_URL")
    with pytest.raises(Denied) as caught:
        place.edge(credential=Tokens(state, READER)).create(name, b"")
    assert caught.value.code is Code.STORAGE_DENIED


def test_a_container_is_made_by_the_first_write(azurite: Storage, name: str) -> None:
    """With an account that nobody deployed, as on a developer's machine."""
    store = BlobStore(azurite, "notes", object(), None)  # type: ignore[arg-type]
    assert store.read(name) is None
    assert store.names("") == []
    assert store.create(name, b"note")
    assert azurite.connection is not None
    with BlobServiceClient.from_connection_string(azurite.connection.reveal()) as sdk:
        assert CONTAINERS["notes"] in {found.name for found in sdk.list_containers()}


@pytest.mark.parametrize(
    "text", ["", "no=account", "AccountName", "DefaultEndpointsProtocol=https"]
)
def test_a_connection_string_that_is_none(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        BlobStore(Storage(connection=Secret(text)), "records", object(), None)  # type: ignore[arg-type]
    assert caught.value.code is Code.STORAGE_ERROR
    assert text == "" or text not in caught.value.message


def test_nobody_listens_there(place: Place, name: str) -> None:
    at = Storage(url=f"https://127.0.0.1:{free_port()}/rotation")
    with pytest.raises(Unavailable) as caught:
        place.edge(at=at).read(name)
    assert caught.value.code is Code.STORAGE_UNAVAILABLE


# The SDK leaves the connection of what it cannot read to the garbage collector, which is called
# here: it would blame another test otherwise.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("verb", ["read", "names", "create", "replace"])
@pytest.mark.parametrize("body", [b"", b"<html>a page", b"\xff\xfe{", b"{}"])
def test_what_answers_is_no_storage_account(verb: str, body: bytes, name: str) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/xml\r\n"
        answer += b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        thread = threading.Thread(target=answering, args=(server, answer), daemon=True)
        thread.start()
        port = server.getsockname()[1]
        connection = f"AccountName=x;AccountKey=AAAA;BlobEndpoint=http://127.0.0.1:{port}/x"
        store = BlobStore(Storage(connection=Secret(connection)), "records", object(), None)  # type: ignore[arg-type]
        with pytest.raises(Unavailable) as caught:
            called(store, verb, name)
        assert caught.value.code in {Code.STORAGE_ERROR, Code.STORAGE_UNAVAILABLE}
    del store, caught
    gc.collect()


def answering(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connected, _ = server.accept()
        except OSError:
            return
        with connected:
            connected.recv(65536)
            connected.sendall(answer)
