"""`rotation.edges.prometheus` and `rotation.edges.monitor`, over the wire, against the stand-in of
`local.metrics`. tests/real/test_prometheus.py asks Prometheus itself."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Any

import pytest

from local.metrics import Sources, serving
from local.tls import Authority
from rotation.config import AzureMonitor, Condition, Prometheus
from rotation.edges import monitor, prometheus
from rotation.edges.azure import AzureEdges
from rotation.edges.web import fetch
from rotation.model.errors import Denied, EdgeError, Invalid, Missing, Unavailable
from rotation.model.reasons import Code
from rotation.secrecy import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ERRORS = 'sum(rate(http_requests_total{code=~"5.."}[5m]))'
WORKSPACE = "3f1e2d4c-0000-4000-8000-5b6a79881234"
KQL = "Logins | where Failed | summarize count()"


@pytest.fixture
def sources() -> Iterator[Sources]:
    with serving() as found:
        yield found


def asked(at: Sources, query: str = ERRORS, **more: Any) -> list[float]:
    found = Prometheus.model_validate({"url": at.url, "query": query})
    return prometheus.values(found, fetch, more.get("token"), 5.0)


def looked(at: Sources, query: str = KQL, **more: Any) -> list[float]:
    found = AzureMonitor.model_validate({"workspace": WORKSPACE, "query": query, **more})
    return monitor.values(found, at.url, fetch, Secret("eyJ.token"), 5.0)


# -- Prometheus


def test_the_values_of_all_series(sources: Sources) -> None:
    sources.series[ERRORS] = [0.25, 3.0, math.inf]
    assert asked(sources) == [0.25, 3.0, math.inf]
    assert sources.asked == [{"path": "/api/v1/query", "query": ERRORS, "timeout": "5s"}]


def test_a_scalar_and_no_data(sources: Sources) -> None:
    sources.scalars["1 + 1"], sources.series[ERRORS] = 2.0, []
    assert (asked(sources, "1 + 1"), asked(sources)) == ([2.0], [])


def test_what_is_no_number_is_read_as_such(sources: Sources) -> None:
    sources.series[ERRORS] = [math.nan]
    (value,) = asked(sources)
    assert math.isnan(value)


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (401, Denied, Code.METRICS_DENIED),
        (403, Denied, Code.METRICS_DENIED),
        (404, Missing, Code.METRICS_QUERY),
        (422, Invalid, Code.METRICS_QUERY),
        (429, Unavailable, Code.METRICS_UNAVAILABLE),
        (503, Unavailable, Code.METRICS_UNAVAILABLE),
    ],
)
def test_a_status_says_whether_it_may_pass(
    sources: Sources, status: int, kind: type[EdgeError], code: Code
) -> None:
    sources.failing = status
    for ask in (asked, looked):
        with pytest.raises(kind) as caught:
            ask(sources)
        assert caught.value.code == code
        assert str(status) in caught.value.message


def test_a_query_that_is_none(sources: Sources) -> None:
    with pytest.raises(Invalid, match="HTTP 400, bad_data"):
        asked(sources, "sum(")


def test_nobody_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for ask in (asked, looked):
            with pytest.raises(Unavailable) as caught:
                ask(Sources(url))
            assert caught.value.code == Code.METRICS_UNAVAILABLE


def test_an_answer_of_something_else(sources: Sources) -> None:
    sources.failing = 200  # with an empty object
    for ask in (asked, looked):
        with pytest.raises(Invalid, match="its answer is none of"):
            ask(sources)


def test_a_metadata_service_is_not_asked() -> None:
    with pytest.raises(Invalid, match="metadata service"):
        asked(Sources("http://169.254.169.254"))


# -- tokens and authorities


def condition(**source: Any) -> Condition:
    return Condition.model_validate({"name": "errors", "above": 1, "prometheus": source})


@pytest.fixture
def trusted(tmp_path: Path) -> Iterator[tuple[Sources, Authority, Path]]:
    authority, tokens = Authority(tmp_path / "ca"), tmp_path / "tokens"
    tokens.mkdir()
    with serving(authority.issue("prometheus").context()) as found:
        found.token, found.series[ERRORS] = "s3cret-token", [0.5]
        yield found, authority, tokens


def test_the_token_of_a_file_is_read_each_time(trusted: tuple[Sources, Authority, Path]) -> None:
    found, authority, tokens = trusted
    edges = AzureEdges({"ROTATION_TOKENS": str(tokens)})
    source = {"url": found.url, "query": ERRORS, "certificateAuthority": str(authority.bundle)}
    own = condition(**source, token="prometheus")
    with pytest.raises(Missing, match="file prometheus: FileNotFoundError") as caught:
        edges.measure(own, 5.0)
    assert caught.value.code == Code.METRICS_TOKEN
    (tokens / "prometheus").write_text("an0ther-word\n")
    with pytest.raises(Denied) as refused:
        edges.measure(own, 5.0)
    assert "an0ther-word" not in refused.value.message
    (tokens / "prometheus").write_text("s3cret-token\n")
    assert edges.measure(own, 5.0) == [0.5]
    with pytest.raises(Missing, match="ROTATION_TOKENS is not set"):
        AzureEdges({}).measure(own, 5.0)


def test_an_authority_that_nobody_trusts(trusted: tuple[Sources, Authority, Path]) -> None:
    with pytest.raises(Unavailable, match="SSLError"):
        AzureEdges({}).measure(condition(url=trusted[0].url, query=ERRORS), 5.0)


@pytest.mark.parametrize("name", ["../ca/ca.key", "/etc/passwd", ".", "a/b"])
def test_a_token_is_a_file_of_its_folder(name: str) -> None:
    with pytest.raises(ValueError, match="the name of a file"):
        condition(url="https://prometheus.example", query="1", token=name)


@pytest.mark.parametrize("more", [{"token": "prometheus"}, {"certificateAuthority": "ca.pem"}])
def test_no_token_goes_out_in_the_clear(more: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="goes with an https"):
        condition(url="http://prometheus.example", query="1", **more)


# -- Azure Monitor


def test_the_only_number_of_the_first_row(sources: Sources) -> None:
    columns = [("Computer", "string"), ("count_", "long")]
    sources.tables[KQL] = columns, [["api-1", 7], ["api-2", 9]]
    assert looked(sources, span="10m") == [7.0]
    (one,) = sources.asked
    assert one == {
        "path": f"/v1/workspaces/{WORKSPACE}/query",
        "query": KQL,
        "timespan": "PT600S",
    }


def test_a_column_by_name(sources: Sources) -> None:
    columns = [("total", "long"), ("rate", "decimal"), ("worst", "real")]
    sources.tables[KQL] = columns, [[100, "0.25", "NaN"]]
    assert looked(sources, column="rate") == [0.25]
    (worst,) = looked(sources, column="worst")
    assert math.isnan(worst)
    with pytest.raises(Invalid, match="3 columns of numbers: `column` has to say which"):
        looked(sources)
    with pytest.raises(Invalid, match="0 columns of numbers named mean"):
        looked(sources, column="mean")


@pytest.mark.parametrize("rows", [[], [[None]]])
def test_no_row_is_no_data(sources: Sources, rows: list[list[Any]]) -> None:
    sources.tables[KQL] = [("count_", "long")], rows
    assert looked(sources) == []


def test_what_is_answered_in_part_alone_is_not_known(sources: Sources) -> None:
    sources.tables[KQL], sources.partial = ([("count_", "long")], [[1]]), True
    with pytest.raises(Unavailable, match="in part alone"):
        looked(sources)
