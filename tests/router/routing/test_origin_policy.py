"""Which origins and hosts are let in, by the config: decided on heads alone."""

from __future__ import annotations

from typing import Any

import pytest
from llmhop.errors import ApiError
from llmhop.http.head import parse_request_head, parse_response_head
from llmhop.http.parsed_head import RequestHead
from llmhop.limits import MAX_ASKED_HEADERS_BYTES
from llmhop.routing.origin_policy import OriginPolicy, is_preflight, preflight_lines

from tests.router.support.endpoints import MODELS, check

LOOPBACK = [
    *("http://localhost", "https://localhost", "http://localhost:3000", "http://app.localhost:1"),
    *("http://127.0.0.1:5173", "https://127.9.8.7", "http://[::1]:8000", "http://0.0.0.0:7860"),
]
NOT_LOOPBACK = [
    *("https://evil.example", "http://localhost.evil.example", "http://evillocalhost", "null"),
    *("http://127.0.0.1.evil.example", "http://evil.example:80.localhost", "file://", "127.0.0.1"),
    *("http://localhost@evil.example", "http://localhost:", "http://localhost:123456", ""),
    *("app://localhost", "http://[::2]", "http://128.0.0.1", "http://127.0.0", "http://localhost/"),
    *("http://LOCALHOST", "http://localhost, http://localhost", "xhttp://localhost", "http://::1"),
]


def head(*fields: str, host: str = "localhost:8080", line: str = "GET /v1/models") -> RequestHead:
    lines = [f"{line} HTTP/1.1", f"Host: {host}", *fields, "", ""]
    return parse_request_head("\r\n".join(lines).encode())[0]


def policy(machine: str = "gpu", **config: Any) -> OriginPolicy:
    return OriginPolicy(check({"models": MODELS, **config}), machine)


def code(asked: OriginPolicy, of: RequestHead, on_loopback: bool = False) -> object:
    """The code of the error that a request is refused with, or None."""
    try:
        asked.admit(of, on_loopback)
    except ApiError as error:
        assert error.status == 403
        return error.code
    return None


@pytest.mark.parametrize("origin", LOOPBACK)
def test_pages_on_loopback_may_ask_where_nothing_is_set(origin: str) -> None:
    of = head(f"Origin: {origin}", host="llm.example")
    assert code(policy(), of) is None
    assert (
        policy().response_lines(of)
        == (
            f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: *\r\n"
            "Vary: Origin\r\n"
        ).encode()
    )


@pytest.mark.parametrize("origin", NOT_LOOPBACK)
def test_others_may_not(origin: str) -> None:
    of = head(f"Origin: {origin}")
    assert code(policy(), of) == "origin_not_allowed"
    assert policy().response_lines(of) == b"Vary: Origin\r\n"
    assert policy().response_lines(head(f"Origin: {origin}", line="POST /v1/x")) == b""


@pytest.mark.parametrize("origin", LOOPBACK)
def test_a_list_of_origins_stands_in_place_of_those_on_loopback(origin: str) -> None:
    of = head(f"Origin: {origin}", host="llm.example")
    assert code(policy(cors={"origins": []}), of) == "origin_not_allowed"
    assert code(policy(cors={"origins": ["https://app.example"]}), of) == "origin_not_allowed"
    assert code(policy(cors={"origins": [origin]}), of) is None


@pytest.mark.parametrize("origin", ["https://app.example", "chrome-extension://abc", "app://x.md"])
def test_an_origin_is_allowed_as_it_is_listed(origin: str) -> None:
    listed = policy(cors={"origins": [origin]})
    assert code(listed, head(f"Origin: {origin}")) is None
    for other in (origin + ":8443", origin + ".evil.example", origin[:-1], origin.upper()):
        assert code(listed, head(f"Origin: {other}")) == "origin_not_allowed"
    assert code(listed, head(f"Origin: {origin}", f"Origin: {origin}")) == "origin_not_allowed"


@pytest.mark.parametrize("origin", ["https://any.example", "null", "file://", ""])
def test_a_star_allows_every_origin_and_asks_for_no_host(origin: str) -> None:
    all_of_them = policy(cors={"origins": ["*"]})
    of = head(f"Origin: {origin}", host="evil.example")
    assert code(all_of_them, of, on_loopback=True) is None
    assert all_of_them.response_lines(of) == (
        b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
    )


@pytest.mark.parametrize("cors", [None, {"origins": []}, {"origins": ["*"]}])
def test_what_no_page_asks_says_as_much_of_origins_as_a_browser_has_to_know_that_keeps_it(
    cors: Any,
) -> None:
    assert code(policy(cors=cors), head()) is None
    assert policy(cors=cors).response_lines(head(line="POST /v1/x")) == b""
    every = cors == {"origins": ["*"]}
    told = b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: *\r\n"
    for method in ("GET", "HEAD"):
        lines = policy(cors=cors).response_lines(head(line=f"{method} /v1/x"))
        assert lines == (told if every else b"Vary: Origin\r\n")


@pytest.mark.parametrize("origin", NOT_LOOPBACK)
def test_where_a_token_is_asked_for_a_page_only_may_not_read_the_answer(origin: str) -> None:
    """It has none, and a browser sends it no more than the preflight if that is refused."""
    closed = policy(authTokens=["t"])
    asked = (f"Origin: {origin}", "Access-Control-Request-Method: POST")
    assert code(closed, head(f"Origin: {origin}")) is None
    assert closed.response_lines(head(f"Origin: {origin}")) == b"Vary: Origin\r\n"
    assert code(closed, head(*asked, line="OPTIONS /v1/x")) == "origin_not_allowed"


def without_origin(site: str, *fields: str, host: str, line: str = "GET /route/m/x") -> RequestHead:
    return head(f"Sec-Fetch-Site: {site}", *fields, host=host, line=line)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "llm.example"])
@pytest.mark.parametrize("site", ["cross-site", "new-kind", "none, cross-site"])
def test_a_page_of_another_site_may_not_ask_where_its_browser_does_not_say_which(
    site: str, host: str
) -> None:
    """As images, scripts and links do; a page that is allowed has its browser say it."""
    asked = without_origin(site, host=host)
    lists: list[Any] = [None, {"origins": []}, {"origins": ["https://app.example"]}]
    for cors in lists:
        with pytest.raises(ApiError, match="origin") as refused:
            policy(cors=cors).admit(asked, False)
        assert (refused.value.status, refused.value.code) == (403, "origin_not_allowed")
    assert code(policy(cors={"origins": ["*"]}), asked) is None
    assert code(policy(authTokens=["t"]), asked) is None
    listed = policy(cors={"origins": ["https://app.example"]})
    named = without_origin(site, "Origin: https://app.example", host=host)
    assert code(listed, named) is None


@pytest.mark.parametrize("site", ["same-origin", "none"])
def test_what_no_other_page_asks_is_let_in(site: str) -> None:
    """Such as an address that is typed, or what a page of llmhop's own origin loads."""
    asked = without_origin(site, host="llm.example")
    assert code(policy(), asked) is None
    assert code(policy(cors={"origins": []}), asked) is None


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "a.localhost"])
def test_another_port_of_loopback_is_let_in_where_pages_on_loopback_are(host: str) -> None:
    asked = without_origin("same-site", host=host)
    assert code(policy(), asked) is None
    assert code(policy(cors={"origins": []}), asked) == "origin_not_allowed"


@pytest.mark.parametrize("host", ["llm.example:8080", "10.0.0.1", "[fe80::1]:8080", ""])
def test_another_page_of_the_same_site_is_not(host: str) -> None:
    assert code(policy(), without_origin("same-site", host=host)) == "origin_not_allowed"


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/models/", "/v1/models/m", "/metrics"])
def test_a_link_may_lead_to_a_page_of_llmhop_s_own(path: str) -> None:
    def by(mode: str, line: str = f"GET {path}") -> object:
        fields = () if not mode else (f"Sec-Fetch-Mode: {mode}",)
        return code(policy(), without_origin("cross-site", *fields, host="localhost", line=line))

    assert by("navigate") is None
    for other in (
        by("no-cors"),
        by(""),
        by("navigate", f"POST {path}"),
        by("navigate", f"GET /route/m{path}"),
        by("navigate", "GET /v1/other"),
    ):
        assert other == "origin_not_allowed"


OWN = [
    *("localhost", "localhost:8080", "LOCALHOST.", "a.localhost", "127.0.0.1:8080", "10.0.0.1"),
    *("[::1]:8080", "[fe80::1]", "gpu", "GPU:8080", "1.2.3.4", ""),
]
FOREIGN = [
    *("evil.example", "evil.example:8080", "localhost.evil.example", "gpu.evil.example", "gpu2"),
    *("127.0.0.1.evil.example", "xlocalhost", "1.2.3", "1.2.3.4.5", "localhost..", "1234.1.1.1"),
]


@pytest.mark.parametrize("host", OWN)
def test_on_loopback_a_host_may_be_an_address_or_a_name_that_nobody_else_can_have(
    host: str,
) -> None:
    assert code(policy(), head(host=host), on_loopback=True) is None


@pytest.mark.parametrize("host", FOREIGN)
def test_on_loopback_another_host_is_refused_by_a_message_that_says_what_to_set(host: str) -> None:
    with pytest.raises(ApiError, match=f"'{host}'.*allowedHosts.*authTokens"):
        policy().admit(head(host=host), True)
    # An http page, whose name leads here, has this as its origin.
    page = head(f"Origin: http://{host}", host=host)
    assert code(policy(), page, on_loopback=True) == "host_not_allowed"
    assert code(policy(), page) == "origin_not_allowed"


@pytest.mark.parametrize("host", FOREIGN)
def test_hosts_are_not_checked_elsewhere_nor_where_a_token_is_asked_for(host: str) -> None:
    assert code(policy(), head(host=host)) is None
    for tokens in ({"authTokens": ["t"]}, {"clients": {"a": {"token": "t"}}}):
        assert code(policy(**tokens), head(host=host), on_loopback=True) is None


def test_a_name_is_allowed_as_it_is_listed_on_any_port() -> None:
    listed = policy(allowedHosts=["LLM.example"])
    for host in ("llm.example", "llm.example:8080", "Llm.Example."):
        assert code(listed, head(host=host), on_loopback=True) is None
    for host in ("a.llm.example", "example", "evil.example"):
        assert code(listed, head(host=host), on_loopback=True) == "host_not_allowed"
    for host in FOREIGN:
        assert code(policy(allowedHosts=["*"]), head(host=host), on_loopback=True) is None


def test_a_name_with_a_dot_at_its_end_is_the_name_without_it() -> None:
    for asked in (policy(allowedHosts=["llm.example."]), policy(machine="llm.example.")):
        for host in ("llm.example", "LLM.example.:8080"):
            assert code(asked, head(host=host), on_loopback=True) is None
        for host in ("llm.example..", "llm.exampl"):
            assert code(asked, head(host=host), on_loopback=True) == "host_not_allowed"


def test_one_host_says_nothing_of_the_next() -> None:
    asked = policy()
    for host, expected in (
        ("evil.example", "host_not_allowed"),
        ("localhost", None),
        ("evil.example", "host_not_allowed"),
        ("localhost", None),
    ):
        assert code(asked, head(host=host), on_loopback=True) == expected


def test_a_host_without_a_name_has_no_own_name() -> None:
    assert code(policy(machine=""), head(host="gpu"), on_loopback=True) == "host_not_allowed"


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", ["10.0.0.1:8080", "gpu:8080", "llm.example", "[fe80::1]:8080"])
def test_a_page_of_llmhop_s_own_origin_may_ask(scheme: str, host: str) -> None:
    of = head(f"Origin: {scheme}://{host}", host=host)
    asked = policy(cors={"origins": []}, allowedHosts=["llm.example"])
    assert code(asked, of) is None
    lines = asked.response_lines(of)
    assert lines is not None
    assert f"Access-Control-Allow-Origin: {scheme}://{host}\r\n".encode() in lines
    for other in (f"{scheme}://{host}1", f"x{scheme}://{host}", f"app://{host}", host):
        assert code(asked, head(f"Origin: {other}", host=host)) == "origin_not_allowed"


PREFLIGHT = ("Origin: https://app.example", "Access-Control-Request-Method: POST")


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (head(*PREFLIGHT, line="OPTIONS /v1/x"), True),
        (head(*PREFLIGHT, line="OPTIONS /health"), True),
        (head(*PREFLIGHT), False),
        (head(PREFLIGHT[0], line="OPTIONS /v1/x"), False),
        (head(PREFLIGHT[1], line="OPTIONS /v1/x"), False),
        (head(*PREFLIGHT, "Content-Length: 9", line="OPTIONS /v1/x"), False),
        (head(*PREFLIGHT, "Transfer-Encoding: chunked", line="OPTIONS /v1/x"), False),
    ],
)
def test_a_preflight_is_what_browsers_send_as_one(of: RequestHead, expected: bool) -> None:
    assert is_preflight(of) == expected


def asking(*fields: str) -> bytes:
    return preflight_lines(head(*PREFLIGHT, *fields, line="OPTIONS /v1/x"))


def test_a_preflight_is_told_the_methods_and_how_long_that_holds() -> None:
    assert asking() == (
        b"Access-Control-Allow-Methods: DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT\r\n"
        b"Access-Control-Max-Age: 7200\r\n"
    )


@pytest.mark.parametrize(
    "names", ["authorization,content-type", "X-Stainless-Os, authorization", "a", "x" * 4096]
)
def test_the_fields_that_are_asked_for_are_allowed_by_name(names: str) -> None:
    lines = asking(f"Access-Control-Request-Headers: {names}")
    assert f"Access-Control-Allow-Headers: {names}\r\n".encode() in lines


@pytest.mark.parametrize("names", ["a:b", "a;b", '"a"', "é", "x" * (MAX_ASKED_HEADERS_BYTES + 1)])
def test_what_names_no_fields_or_too_many_is_not_echoed(names: str) -> None:
    assert b"Allow-Headers" not in asking(f"Access-Control-Request-Headers: {names}")


@pytest.mark.parametrize(("value", "allowed"), [("true", True), ("false", False), ("", False)])
def test_a_page_of_another_network_is_let_in_where_it_asks_for_that(
    value: str, allowed: bool
) -> None:
    lines = asking(f"Access-Control-Request-Private-Network: {value}")
    assert (b"Access-Control-Allow-Private-Network: true\r\n" in lines) == allowed


def test_what_a_backend_says_of_origins_is_left_out() -> None:
    for status in (b"200 OK", b"103 Early Hints"):
        lines = (
            b"HTTP/1.1 %b\r\naccess-control-allow-origin: *\r\nX-A: access-control-x: 1\r\n"
            b"Access-Control-Expose-Headers: a\r\nVary: Accept\r\nAccess-Controls: x\r\n"
            b"ACCESS-CONTROL-ALLOW-CREDENTIALS: true\r\n\r\n"
        )
        assert (
            parse_response_head(lines % status)[0].start
            == (
                b"HTTP/1.1 %b\r\nX-A: access-control-x: 1\r\nVary: Accept\r\nAccess-Controls: x\r\n"
            )
            % status
        )
