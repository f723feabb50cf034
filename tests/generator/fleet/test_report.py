"""What is said of several hosts: the report, what differs, and the llmhop in front."""

import json
from typing import Any

import pytest
from llmhop.config.findings import ConfigError
from llmhop.config.parser import parse as parse_router_config
from llmhop.config.tls import load_certificate
from llmhop_generator.errors import GeneratorError
from llmhop_generator.fleet import compare as fleet_compare
from llmhop_generator.fleet import report as fleet_report
from llmhop_generator.fleet.addresses import base_urls
from llmhop_generator.fleet.front import front
from llmhop_generator.fleet.hosts import Failed, Host, Result, Without
from llmhop_generator.fleet.report import collisions
from llmhop_generator.parse.load import parse_config

from tests.generator.support.contracts import host


def refused(*hosts: Host, **urls: str) -> str:
    with pytest.raises(GeneratorError) as caught:
        front(hosts, urls)
    return str(caught.value)


def accepted(settings: dict[str, Any]) -> dict[str, Any]:
    """Pass a configuration to llmhop's own parser, and give its models."""
    parse_router_config(
        settings, lambda reference: "secret", lambda cert, key: load_certificate(cert, key, {})
    )
    models: dict[str, Any] = settings["models"]
    return models


@pytest.mark.parametrize(
    ("settings", "urls"),
    [
        ({}, []),
        ({"listen": ":8080"}, ["http://gpu1.lan:8080"]),
        ({"listen": "0.0.0.0:80"}, ["http://gpu1.lan:80"]),
        ({"listen": "[::]:80"}, ["http://gpu1.lan:80"]),
        ({"listen": ["127.0.0.1:8080", "unix:/run/l", "10.0.0.7:81"]}, ["http://10.0.0.7:81"]),
        ({"listen": ["[::1]:8080", "localhost:8080", "127.9.9.9:1"]}, []),
        # However an address is written.
        ({"listen": ["[0:0::0:1]:8080", "[0:0:0:0:0:0:0:1]:1"]}, []),
        ({"listen": "[0:0::0]:80"}, ["http://gpu1.lan:80"]),
        ({"listen": "api.example.org:80"}, ["http://api.example.org:80"]),
        ({"host": "fd00::7", "port": 81}, ["http://[fd00::7]:81"]),
        (
            {"listen": ":443", "tls": {"certificate": "c", "key": "k"}},
            ["https://gpu1.lan:443"],
        ),
    ],
)
def test_others_reach_llmhop_where_it_listens_beyond_the_host(
    settings: dict[str, Any], urls: list[str]
) -> None:
    assert base_urls(host("gpu1", settings, a={})) == urls


def test_an_llmhop_that_is_off_has_no_address() -> None:
    off = host("gpu1", a={})
    off.contract["llmhop"]["enable"] = False
    config = parse_config(json.dumps(off.contract).encode(), "gpu1")
    assert base_urls(Host("gpu1", "gpu1.lan", off.contract, config)) == []


def test_the_report_shows_image_digest_revision_and_devices() -> None:
    digest = "sha256:" + "0" * 64
    a = {"digest": digest, "devices": ["nvidia.com/gpu=0"], "settings": {"revision": "v2"}}

    found: list[Result] = [host("gpu1", a=a, b={"enable": False}), Without("web")]

    image = f"docker.io/vllm/vllm-openai@{digest}"
    assert fleet_report.as_rows(found)[1:] == [
        ("gpu1", "a", "18001", "org/a@v2", image, "nvidia.com/gpu=0")
    ]
    assert "without llmhop:\n  web" in fleet_report.sections(found)


def test_a_model_with_different_weights_on_two_hosts_collides() -> None:
    hosts = [
        host("one", a={"settings": {"revision": "v1"}}),
        host("two", a={"settings": {"revision": "v2"}}),
        host("three", a={"settings": {"revision": "v1"}}),
    ]

    assert list(collisions(hosts)) == [
        "the model a has different weights: org/a@v1 on one, three; org/a@v2 on two"
    ]
    assert "different weights" in refused(*hosts)


def test_two_hosts_with_one_address_collide() -> None:
    hosts = [host(name, {"listen": "10.0.0.7:80"}, a={}) for name in ("one", "two")]

    assert list(collisions(hosts)) == ["http://10.0.0.7:80 is the llmhop of one and of two"]
    assert "http://10.0.0.7:80" in refused(*hosts)


@pytest.mark.parametrize("other", ["b", "x"])
def test_a_name_of_different_models_on_two_hosts_collides(other: str) -> None:
    one = host("one", {"listen": ":80", "models": {"a": {"aliases": [other]}}}, a={})
    two = host("two", {"listen": ":80", "models": {"b": {"aliases": ["x"]}}}, b={})

    said = f"the name {other} stands for different models: a on one; b on two"
    assert list(collisions([one, two])) == [said]
    assert said in refused(one, two)
    with pytest.raises(ConfigError):
        accepted(
            {
                "models": {
                    "a": {"url": "http://one", "aliases": [other]},
                    "b": {"url": "http://two", "aliases": ["x"]},
                }
            }
        )


def test_hosts_that_serve_the_same_do_not_collide() -> None:
    assert list(collisions([host("one", a={}), host("two", a={}, b={})])) == []


def test_the_front_has_replicas_aliases_and_what_is_unlisted() -> None:
    extra = {"models": {"a": {"aliases": ["x"], "unlisted": True}}}
    models = accepted(
        front(
            [
                host("one", {"listen": ":80"} | extra, a={}, b={}),
                host("two", {"listen": ":80", "models": {"a": {"aliases": ["y"]}}}, a={}),
            ],
            {},
        )
    )

    assert models == {
        "a": {
            "urls": ["http://one.lan:80/route/a", "http://two.lan:80/route/a"],
            "aliases": ["x", "y"],
        },
        "b": {"url": "http://one.lan:80/route/b"},
    }
    only = accepted(front([host("one", {"listen": ":80"} | extra, a={})], {}))
    assert only["a"]["unlisted"] is True


def test_the_front_leaves_out_what_runs_elsewhere_than_on_the_hosts() -> None:
    remote = {"listen": ":80", "models": {"r": {"url": "https://example.org"}}}

    assert accepted(front([host("one", remote, a={})], {})).keys() == {"a"}


def test_the_front_sends_a_token_that_every_host_of_a_model_takes() -> None:
    def takes(*tokens: str) -> dict[str, Any]:
        return {"listen": ":80", "authTokens": list(tokens)}

    one = host("one", takes("${file:own}", "${file:fleet}"), a={}, b={})
    two = host("two", takes("${file:fleet}"), a={})

    models = accepted(front([one, two, host("three", a={})], {}))

    assert models["a"]["headers"] == {"Authorization": "Bearer ${file:fleet}"}
    assert models["b"]["headers"] == {"Authorization": "Bearer ${file:own}"}


@pytest.mark.parametrize("tokens", [["literal-secret"], ["${file:other}"]])
def test_hosts_without_a_common_reference_to_a_token_are_named(tokens: list[str]) -> None:
    one = host("one", {"listen": ":80", "authTokens": ["literal-secret"]}, a={})
    two = host("two", {"listen": ":80", "authTokens": tokens}, a={})

    text = refused(one, two)

    assert "a: one, two take no token in common" in text
    assert "literal-secret" not in text


def test_a_host_whose_clients_all_have_names_needs_a_token_for_the_front() -> None:
    settings = {"listen": ":80", "clients": {"team": {"token": "${file:team}"}}}
    text = refused(host("one", settings, a={}))
    assert "a: one take no token in common" in text


def test_every_host_that_keeps_a_front_from_being_made_is_named_at_once() -> None:
    text = refused(host("one", {}, a={}), host("two", {}, a={}), three="http://three")

    assert "one: its llmhop listens where other hosts don't reach it" in text
    assert "two: its llmhop listens where other hosts don't reach it" in text
    assert "three: has an --address, but is no host with llmhop" in text


def test_two_hosts_with_the_same_given_address_are_refused() -> None:
    hosts = [host("one", {}, a={}), host("two", {}, a={})]
    assert "two: has the address of one, http://x" in refused(
        *hosts, one="http://x", two="http://x"
    )


def test_hosts_that_serve_nothing_have_no_front() -> None:
    assert "nothing to front" in refused()


def compare(old: Result | None, new: Result | None) -> list[str]:
    text = fleet_compare.as_text([old] if old else [], [new] if new else [])
    return text.splitlines()


def test_what_differs_is_named_by_option_with_both_values() -> None:
    old = host("one", a={"settings": {"seed": 1, "x": [1]}}, b={}, c={"port": 18009})
    new = host("one", a={"settings": {"seed": 2, "y": [1]}}, c={"port": 18009}, d={"port": 18010})

    assert compare(old, new) == [
        "one:",
        "  services.llmhop.vllm.models.a.settings.seed: 1 -> 2",
        "  services.llmhop.vllm.models.a.settings.x: removed, was [1]",
        "  services.llmhop.vllm.models.a.settings.y: added as [1]",
        "  services.llmhop.vllm.models.b: removed",
        "  services.llmhop.vllm.models.d: added",
    ]


def test_what_may_be_a_secret_is_not_shown_when_it_differs() -> None:
    def with_secret(secret: str) -> Host:
        models = {"r": {"url": "https://r", "headers": {"Authorization": secret}}}
        clients = {"a": {"token": secret}, "b": {"tokens": [secret]}}
        settings = {"listen": ":80", "authTokens": [secret], "models": models, "clients": clients}
        return host("one", settings, a={"environment": {"TOKEN": secret}})

    lines = compare(with_secret("hunter2"), with_secret("hunter3"))

    assert lines == [
        "one:",
        "  services.llmhop.settings.authTokens: changed",
        "  services.llmhop.settings.clients.a.token: changed",
        "  services.llmhop.settings.clients.b.tokens: changed",
        "  services.llmhop.settings.models.r.headers.Authorization: changed",
        "  services.llmhop.vllm.models.a.environment.TOKEN: changed",
    ]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (None, host("one", a={}), "one: added, with a"),
        (Without("one"), host("one", a={}), "one: added, with a"),
        (host("one", a={}, b={}), None, "one: removed, with a, b"),
        (host("one", a={}), Without("one"), "one: removed, with a"),
        (
            Failed("one", "error: x"),
            None,
            "one: can't be compared, it fails in the old revision: x",
        ),
        (
            None,
            Failed("one", "error: x"),
            "one: can't be compared, it fails in the new revision: x",
        ),
        (host("one", a={}), host("one", a={}), "no difference"),
        (Without("one"), None, "no difference"),
    ],
)
def test_a_host_that_comes_goes_or_fails_is_one_line(
    old: Result | None, new: Result | None, line: str
) -> None:
    assert compare(old, new) == [line]


def test_a_value_of_another_type_differs() -> None:
    old, new = (host("one", a={"settings": {"x": x}}) for x in (1, True))
    assert compare(old, new)[1].endswith("settings.x: 1 -> true")
