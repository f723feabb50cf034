"""Any pieces, any fields, any bytes: what hypothesis makes up, and what fuzzing begins with."""

from __future__ import annotations

import string
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llmhop.config.config import Config
from llmhop.errors import ApiError
from llmhop.http.head import parse_request_head
from llmhop.routing.decision import Route
from llmhop.routing.table import RoutingTable

from tests.fuzz import oracle
from tests.fuzz.reading import forwarded_head, read_requests, read_response
from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS
from tests.router.support.corpus.requests import ENDED, FORWARDED, REFUSED
from tests.router.support.corpus.responses import RESPONSES
from tests.router.support.endpoints import check

REQUESTS = [raw for raw, _ in (FORWARDED | ENDED).values()]
REQUESTS += [raw for _, raw in REFUSED.values()]
TOKEN = "the-token"  # noqa: S105 - opens nothing


@st.composite
def pieces(draw: st.DrawFn, raws: list[bytes], most: int) -> tuple[bytes, list[bytes]]:
    """Some of `raws` behind each other, whole and in pieces."""
    chosen = draw(st.lists(st.sampled_from(raws), min_size=1, max_size=most))
    raw = b"".join(chosen)
    cuts = draw(st.lists(st.integers(0, len(raw)), max_size=12))
    ends = sorted({0, len(raw), *cuts})
    return raw, [raw[a:b] for a, b in pairwise(ends)]


@settings(deadline=None, max_examples=400)
@given(pieces(REQUESTS, most=4))
def test_requests_are_the_same_in_any_pieces(example: tuple[bytes, list[bytes]]) -> None:
    raw, parts = example
    assert read_requests(parts, limit=10**7) == read_requests([raw], limit=10**7)


@settings(deadline=None, max_examples=400)
@given(
    pieces([case.raw + case.later for case in RESPONSES.values()], most=2),
    st.booleans(),
    st.booleans(),
)
def test_a_response_is_the_same_in_any_pieces(
    example: tuple[bytes, list[bytes]], decode: bool, to_head: bool
) -> None:
    raw, parts = example
    found = read_response(parts, decode=decode, to_head=to_head)
    whole = read_response([raw], decode=decode, to_head=to_head)
    assert (found.heads, found.error) == (whole.heads, whole.error)
    if not whole.error:
        assert found.body == whole.body
        assert (found.reusable and not found.left) == whole.reusable


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("piece", [0, 1, 7])
@pytest.mark.parametrize("flags", [0, 1, 2, 3, 255])
def test_what_fuzzing_begins_with_is_no_finding(target: str, piece: int, flags: int) -> None:
    found = seeds(target)
    assert found
    for data in found.values():
        TARGETS[target](bytes([piece, flags]) + data[2:])


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(sorted(TARGETS)), st.data())
def test_changed_bytes_are_no_finding(target: str, data: st.DataObject) -> None:
    raw = data.draw(st.sampled_from(sorted(seeds(target).values())))
    at = data.draw(st.integers(0, len(raw)))
    cut = data.draw(st.integers(0, 4))
    new = data.draw(st.sampled_from([b"", b"\r\n", b"\n", b"\0", b" ", b":", b"0", b";", b"\xff"]))
    TARGETS[target](raw[:at] + new + raw[at + cut :])


# Names that decide something in this router, in others, or behind them.
KNOWN = """
    authorization proxy-authorization x-forwarded-for x-forwarded-host x-forwarded-proto
    x-forwarded-port x-forwarded-prefix forwarded x-real-ip connection keep-alive te trailer
    upgrade transfer-encoding content-length host expect x-model x-route model x-original-url
    x-rewrite-url x-http-method-override x-request-id x-config api-key x-api-key cookie
""".split()


def test_no_field_of_a_client_moves_a_request_or_forges_what_is_known_of_it() -> None:
    config = check(
        {
            "models": {
                "a": {"url": "http://a:1", "headers": {"X-Config": "mine"}},
                "b": {"url": "http://b:1"},
            },
            "authTokens": [TOKEN],
        }
    )
    seen = _try_fields(config)
    # The property is tried on requests that pass, not on refusals alone.
    assert seen["sent"] > 50
    assert seen["unauthorized"] > 5


def _try_fields(config: Config) -> dict[str, int]:
    table = RoutingTable(config, 0)
    seen = dict.fromkeys(("refused", "unauthorized", "sent"), 0)
    spelled = st.sampled_from(KNOWN).flatmap(
        lambda name: st.sampled_from(
            [name, name.upper(), name.title(), name.replace("-", "_"), f"{name} ", f"{name}-x"]
        )
    )
    token = st.text(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~", min_size=1)
    value = st.one_of(
        st.sampled_from(["b", "evil", "close", f"Bearer {TOKEN}", "chunked", "0", ""]),
        st.lists(st.sampled_from(KNOWN)).map(", ".join),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=20),
    )

    @settings(deadline=None, max_examples=500)
    @given(st.lists(st.tuples(st.one_of(spelled, token), value), max_size=6), st.booleans())
    def attempt(fields: list[tuple[str, str]], authorized: bool) -> None:
        given_fields = [("Host", "r"), *fields]
        if authorized:
            given_fields.append(("Authorization", f"Bearer {TOKEN}"))
        lines = "".join(f"{name}: {value}\r\n" for name, value in given_fields)
        raw = b"POST /v1/x HTTP/1.1\r\n" + lines.encode("latin-1") + b"\r\n"
        try:
            head, _ = parse_request_head(raw)
        except ApiError:
            seen["refused"] += 1
            return
        tokens = [v.strip(" \t") for n, v in given_fields if n.lower() == "authorization"]
        try:
            table.authorize(head, True)
        except ApiError as error:
            assert error.status == 401
            assert len(tokens) != 1 or tokens[0] != f"Bearer {TOKEN}"
            seen["unauthorized"] += 1
            return
        assert len(tokens) == 1
        assert tokens[0].split()[1] == TOKEN
        seen["sent"] += 1
        route = table.decide(head, b'{"model":"a"}')
        assert isinstance(route, Route)
        assert route.model == "a"
        # A framed request gets a length of its own; none is sent here.
        sent = forwarded_head(table, head, route, 0)
        reading = oracle.read_requests(sent)
        assert (reading.error, reading.left) == ("", b"")
        ((start, found, _),) = reading.messages
        assert start == (b"POST", b"/v1/x")
        keyed = [(name.lower().replace(b"_", b"-"), value) for name, value in found]
        for name, known in (
            (b"host", b"a:1"),
            (b"x-forwarded-for", b"192.0.2.1"),
            (b"x-forwarded-proto", b"http"),
            (b"x-forwarded-host", b"r"),
            (b"x-config", b"mine"),
        ):
            assert [value for key, value in keyed if key == name] == [known]
        names = {name for name, _ in keyed}
        assert not names & {b"authorization", b"proxy-authorization", b"forwarded", b"x-real-ip"}
        assert not names & {b"connection", b"te", b"upgrade", b"transfer-encoding", b"expect"}
        assert {name for name in names if name.startswith(b"x-forwarded")} <= {
            b"x-forwarded-for",
            b"x-forwarded-proto",
            b"x-forwarded-host",
        }

    attempt()
    return seen


FOREIGN = ["r", "evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example"]
OWN_HOSTS = ["localhost", "LOCALHOST:8080", "app.localhost", "127.0.0.1:8080", "[::1]"]


def test_no_field_of_a_client_hides_the_name_that_it_came_by() -> None:
    """Without tokens a web site whose name leads here is refused, whatever else it sends."""
    table = RoutingTable(check({"models": {"a": {"url": "http://a:1"}}}), 0)
    seen = dict.fromkeys(("host_not_allowed", "origin_not_allowed", "let in"), 0)
    names = st.sampled_from([name for name in KNOWN if name != "host"])
    deciding = st.sampled_from(["origin", "sec-fetch-site", "x-forwarded-host", "forwarded"])
    values = st.sampled_from(["localhost", "http://localhost", "host=localhost", "same-origin"])
    fields = st.lists(st.tuples(st.one_of(names, deciding), values), max_size=5)

    @settings(deadline=None, max_examples=500)
    @given(st.sampled_from(FOREIGN + OWN_HOSTS), fields)
    def attempt(host: str, others: list[tuple[str, str]]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in [("Host", host), *others])
        raw = f"POST /v1/x HTTP/1.1\r\n{lines}\r\n".encode()
        try:
            head, _ = parse_request_head(raw)
        except ApiError:
            return
        try:
            table.authorize(head, on_loopback=True)
        except ApiError as error:
            assert (error.status, error.code in seen) == (403, True)
            assert host in FOREIGN or any(
                name in ("origin", "sec-fetch-site") for name, _ in others
            )
            seen[str(error.code)] += 1
            return
        assert host in OWN_HOSTS
        seen["let in"] += 1

    attempt()
    assert seen["host_not_allowed"] > 20
    assert seen["let in"] > 20
