"""The check of a config: what it accepts, and every way of being wrong it explains."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from llmhop.config.backend_url import Origin
from llmhop.config.config import Config
from llmhop.config.findings import ConfigError
from llmhop.config.listen_address import TcpAddress, UnixAddress
from llmhop.config.parser import parse
from llmhop.config.schema.checker import key_path
from llmhop.config.secrets import expand
from llmhop.config.tls import load_certificate

from tests.router.support.corpus.config import BAD, MODELS, URL


def check(data: object, environment: dict[str, str] | None = None) -> Config:
    """Parse as the command does, in another environment."""
    known = environment or {}
    return parse(
        data,
        lambda text: expand(text, known),
        lambda certificate, key: load_certificate(certificate, key, known),
    )


def problems(data: object, environment: dict[str, str] | None = None) -> list[str]:
    """The lines that a bad config is refused with."""
    with pytest.raises(ConfigError) as caught:
        check(data, environment)
    return [str(problem) for problem in caught.value.findings]


LINES = {name: 2 for name in BAD if name.startswith("tls ")} | {
    "tls is true": 1,
    "tls with another key": 3,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_config_is_refused_with_one_line_that_says_what_to_do(name: str) -> None:
    data, line = BAD[name]
    found = problems(data)
    assert len(found) == LINES.get(name, 1)
    assert found[0].startswith(line)
    where, what, todo = found[0].partition(": ")[0], found[0], found[0].rpartition("; ")[2]
    assert where
    assert todo
    assert "\n" not in what
    assert "secret" not in what


def test_every_problem_is_found_at_once() -> None:
    found = problems(
        {
            "lsiten": ":1",
            "port": "x",
            "authTokens": ["$NOPE", 1],
            "models": {"a": {}, "b": {"url": "x", "headers": {"": "1", "Te": "1"}}, "c": 1},
        }
    )
    assert [line.partition(": ")[0] for line in found] == [
        "lsiten",
        "port",
        "models.a.url",
        "models.b.url",
        'models.b.headers.""',
        "models.b.headers.Te",
        "models.c",
        "authTokens[0]",
        "authTokens[1]",
    ]


def test_what_is_resolved_never_shows_in_a_message_or_repr() -> None:
    environment = {"A": "hunter2\n", "B": "hunter2"}
    found = problems({"models": MODELS, "authTokens": ["$A", "x${env:A}"]}, environment)
    assert found
    assert "hunter2" not in "".join(found)
    data = {"models": {"m": {"url": URL, "headers": {"X": "$B"}}}, "authTokens": ["$B"]}
    config = check(data, environment)
    assert config.auth_tokens == ("hunter2",)
    assert config.models["m"].headers == (("X", "hunter2"),)
    assert "hunter2" not in repr(config)


def test_a_secret_with_a_dollar_sign_is_not_printed_as_a_variable() -> None:
    (line,) = problems({"models": MODELS, "authTokens": ["pa$sw0rd"]})
    assert "sw0rd" not in line
    assert "${file:PATH}" in line


@pytest.mark.parametrize(
    ("data", "listen"),
    [
        ({}, TcpAddress("127.0.0.1", 8080)),
        ({"listen": None, "host": None}, TcpAddress("127.0.0.1", 8080)),
        ({"listen": ":8080"}, TcpAddress(None, 8080)),
        ({"listen": "0.0.0.0:1"}, TcpAddress("0.0.0.0", 1)),  # noqa: S104 - only parsed
        ({"listen": "[::1]:8080"}, TcpAddress("::1", 8080)),
        ({"listen": "localhost:0"}, TcpAddress("localhost", 0)),
        ({"host": "::"}, TcpAddress("::", 8080)),
        ({"host": "h.example", "port": 1}, TcpAddress("h.example", 1)),
        ({"host": "", "port": 1}, TcpAddress(None, 1)),
        ({"port": 1}, TcpAddress("127.0.0.1", 1)),
    ],
)
def test_the_address_to_listen_on(data: dict[str, Any], listen: TcpAddress) -> None:
    assert check({"models": MODELS, **data}).addresses == (listen,)


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "0.0.0.0", "255.255.255.255"),  # noqa: S104 - only parsed
        *("192.168.1.300", "256.0.0.1", "127.0.0.01", "010.0.0.1", "00.0.0.0"),
        *("1.2.3", "127.1", "1.2.3.4.5", "2130706433", "0x7f.1", "0X7F000001", "127.0.0.0x", "0x"),
        *("1.2.3.4.", "a.1", "gpu.example.300."),
    ],
)
def test_a_host_that_ends_in_a_number_is_an_ipv4_address_as_systemd_takes_it(host: str) -> None:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        what = "has a host that is not an IPv4 address"
        for place in ({"listen": f"{host}:1"}, {"host": host}):
            assert what in problems({"models": MODELS, **place})[0]
        assert what in problems({"models": {"m": {"urls": [f"http://{host}:1/v1"]}}})[0]
    else:
        assert check({"models": MODELS, "host": host}).addresses == (TcpAddress(host, 8080),)


@pytest.mark.parametrize("host", ["1a.example", "300.example", "h1", "gpu.0xg", "1.2.3.4a", "a.b1"])
def test_a_host_name_may_have_digits_but_no_number_last(host: str) -> None:
    assert check({"models": MODELS, "host": host}).addresses == (TcpAddress(host, 8080),)


def test_several_addresses_and_sockets_can_be_listened_on() -> None:
    listen = ["127.0.0.1:1", "unix:/run/a.sock", "h:0", "h:0"]
    config = check({"models": MODELS, "listen": listen, "socketMode": "600"})
    assert config.listen == (
        TcpAddress("127.0.0.1", 1),
        UnixAddress("/run/a.sock"),
        TcpAddress("h", 0),
        TcpAddress("h", 0),
    )
    assert config.socket_mode == 0o600


@pytest.mark.parametrize(
    ("url", "socket", "path", "query"),
    [
        ("unix:/run/a.sock", "/run/a.sock", "", ""),
        ("unix:/run/a.sock:/", "/run/a.sock", "/", ""),
        ("unix:/run/a.sock:/v1?x=1", "/run/a.sock", "/v1", "x=1"),
        ("unix:/run/a:b", "/run/a:b", "", ""),
    ],
)
def test_the_url_of_a_unix_socket_ends_its_path_at_a_colon(
    url: str, socket: str, path: str, query: str
) -> None:
    parsed = check({"models": {"m": {"url": url}}}).models["m"].urls[0]
    assert parsed.origin == Origin(False, "localhost", 0, socket)
    assert (parsed.authority, parsed.path, parsed.query) == ("localhost", path, query)


def test_models_share_connections_only_where_their_timeouts_agree() -> None:
    times = {"connectTimeout": 1, "idleTimeout": 2.5}
    models = check({"models": {"a": {"url": URL, **times}, "b": {"url": URL}}}).models
    assert models["a"].urls[0].origin == Origin(False, "127.0.0.1", 8000, None, 1.0, 2.5)
    assert models["b"].urls[0].origin == Origin(False, "127.0.0.1", 8000, None, 10.0, 4.0)


def test_a_timeout_alone_is_taken_and_may_be_a_day() -> None:
    model = check({"models": {"m": {"url": URL, "idleTimeout": 86400}}}).models["m"]
    assert model.urls[0].origin == Origin(False, "127.0.0.1", 8000, None, 10.0, 86400.0)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("http://x", "http://x/"),
        ("http://x", "http://X:80"),
        ("https://x:443/v1", "https://x/v1"),
        ("unix:/run/a.sock", "unix:/run//./a.sock:/"),
    ],
)
def test_one_backend_written_in_two_ways_is_listed_twice(first: str, second: str) -> None:
    assert problems({"models": {"m": {"urls": [first, second]}}}) == [
        "models.m.urls[1]: is listed twice; remove it"
    ]


@pytest.mark.parametrize(
    "urls", [["http://x/a", "http://x/a/"], ["http://x", "https://x"], ["http://x", "http://x?b"]]
)
def test_backends_that_may_be_two_are_two(urls: list[str]) -> None:
    assert len(check({"models": {"m": {"urls": urls}}}).models["m"].urls) == 2


def test_white_space_around_a_header_is_not_sent() -> None:
    config = check({"models": {"m": {"url": URL, "headers": {"X": " a b\t"}}}})
    assert config.models["m"].headers == (("X", "a b"),)


def test_a_size_that_is_refused_is_not_compared() -> None:
    given = {"models": MODELS, "maxBodyBytes": 2**31, "maxBufferedBytes": 0}
    (line,) = problems(given)
    assert line.startswith("maxBufferedBytes: is out of range")


def test_an_upstream_config_is_read_as_upstream_reads_it() -> None:
    environment = {"OPENAI_KEY": "sk-1"}
    config = check(
        {
            "listen": ":8080",
            "maxBodyBytes": 0,
            "authTokens": ["${env:OPENAI_KEY}", "plain"],
            "models": {
                "qwen3.6-35b-a3b": {"url": "http://localhost:30000"},
                "gpt": {
                    "url": "https://api.openai.com/v1?x=1",
                    "headers": {"Authorization": "Bearer $OPENAI_KEY"},
                },
            },
        },
        environment,
    )
    assert config.max_body_bytes == 100 * 1024 * 1024
    assert config.auth_tokens == ("sk-1", "plain")
    assert config.models["qwen3.6-35b-a3b"].urls[0].origin == Origin(False, "localhost", 30000)
    gpt = config.models["gpt"]
    assert gpt.urls[0].origin == Origin(True, "api.openai.com", 443)
    assert (gpt.urls[0].path, gpt.urls[0].query) == ("/v1", "x=1")
    assert gpt.headers == (("Authorization", "Bearer sk-1"),)


def test_by_default_every_worker_can_hold_a_body_of_the_largest_size() -> None:
    assert check({"models": MODELS}).max_buffered_bytes == 1024**3
    many = check({"models": MODELS, "maxBodyBytes": 2**30, "workers": 4})
    assert many.max_buffered_bytes == 2**32
    exact = {"models": MODELS, "maxBodyBytes": 9, "maxBufferedBytes": 18, "workers": 2}
    assert check(exact).max_buffered_bytes == 18


@pytest.mark.parametrize("name", BAD)
def test_a_problem_tells_programs_the_same_place_as_people(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(BAD[name][0])
    for problem in caught.value.findings:
        assert problem.where == (key_path(*problem.path) or "config")


def test_a_key_path_is_written_as_in_nix() -> None:
    assert key_path("models", "a-b", "url") == "models.a-b.url"
    assert key_path("models", 'a"\\.b', "url") == 'models."a\\"\\\\.b".url'
    assert key_path("authTokens", 3) == "authTokens[3]"


LOOPS = [
    ("127.0.0.1:8080", "http://127.0.0.1:8080"),
    ("127.0.0.1:8080", "http://127.0.0.1:8080/route/other"),
    (":8080", "http://127.0.0.1:8080"),
    (":8080", "http://[::1]:8080/v1"),
    (":80", "http://LocalHost"),
    ("0.0.0.0:443", "https://127.9.9.9"),
    ("[::]:8080", "http://[0::1]:8080"),
    ("localhost:8080", "http://127.0.0.1:8080"),
    ("[::1]:8080", "http://localhost:8080"),
    ("gpu.example:8080", "http://GPU.example:8080"),
    ("gpu.example.:8080", "http://gpu.example:8080"),
    ("127.0.0.1:8080", "http://localhost.:8080"),
    ("127.0.0.1:8080", "http://0.0.0.0:8080"),
    (":8080", "http://0.0.0.0:8080"),
    ("[::1]:8080", "http://[::]:8080"),
    ("localhost.:8080", "http://[::]:8080"),
    ("127.0.0.1:8080", "http://[::ffff:127.0.0.1]:8080"),
    ("192.168.1.4:8080", "http://192.168.1.4:8080"),
    ("unix:/run/s", "unix:/run/s:/v1"),
    (["127.0.0.1:1", "unix:/run/s"], "unix:/run/s"),
]
NO_LOOPS = [
    ("127.0.0.1:8080", "http://127.0.0.1:8081"),
    ("127.0.0.1:8080", "http://127.0.0.2:8080"),
    ("127.0.0.1:8080", "http://[::1]:8080"),
    ("0.0.0.0:8080", "http://[::1]:8080"),
    ("[::]:8080", "http://127.0.0.1:8080"),
    ("[::]:8080", "http://0.0.0.0:8080"),
    ("127.0.0.1:8080", "http://[::]:8080"),
    ("127.0.0.2:8080", "http://0.0.0.0:8080"),
    ("192.168.1.4:8080", "http://0.0.0.0:8080"),
    (":8080", "http://192.168.1.4:8080"),
    (":8080", "http://gpu.example:8080"),
    (":8080", "http://127.example:8080"),
    ("192.168.1.4:8080", "http://127.0.0.1:8080"),
    ("gpu.example:8080", "http://other.example:8080"),
    ("unix:/run/s", "unix:/run/t"),
    ("unix:/run/s", "http://run"),
    ("127.0.0.1:80", "unix:/run/s"),
]


@pytest.mark.parametrize(("listen", "url"), LOOPS)
def test_a_model_that_is_llmhop_itself_is_refused(listen: str | list[str], url: str) -> None:
    (told,) = problems({"listen": listen, "models": {"a/b": {"url": url}}})
    assert told.startswith('models."a/b".url: leads to llmhop itself, which listens on ')
    (told,) = problems({"listen": listen, "models": {"m": {"urls": [url]}}})
    assert told.startswith("models.m.urls: ")
    # Another one serves where this one can't, as where hosts share their models.
    urls = [url, "http://192.168.1.5:1"]
    assert check({"listen": listen, "models": {"m": {"urls": urls}}}).models["m"].urls


@pytest.mark.parametrize(("listen", "url"), NO_LOOPS)
def test_a_model_that_may_be_elsewhere_is_not(listen: str, url: str) -> None:
    assert check({"listen": listen, "models": {"m": {"url": url}}}).models["m"].urls


def test_by_default_another_address_may_have_been_opened_for_llmhop() -> None:
    models = {"m": {"url": "http://127.0.0.1:8080"}}
    assert check({"models": models}).models
    assert check({"models": models, "listen": None}).models
    assert len(problems({"models": models, "port": 8080})) == 1
    assert len(problems({"models": models, "host": "localhost"})) == 1
    assert len(problems({"models": models, "listen": "bad"})) == 1
    assert len(problems({"models": {"m": {}}, "port": 8080})) == 1
