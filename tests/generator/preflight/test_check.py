"""Every kind of finding about a host is told, all of them at once."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from llmhop_generator.contract.options import Config
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host.process import Account
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.parse.load import parse_config
from llmhop_generator.preflight import check as preflight
from llmhop_generator.preflight.router import service as host_router
from llmhop_generator.render.tree import render

from tests.generator.conftest import MINIMAL

FINDERS = (
    *("user_findings", "device_findings", "port_findings", "path_findings"),
    *("directory_findings", "environment_file_findings", "disk_findings"),
    *("unit_findings", "mask_findings", "requirement_findings", "model_boot_findings"),
    *("hidden_findings", "service_findings", "socket_findings", "router_boot_findings"),
    *("router_findings", "router_socket_findings", "secret_findings"),
)


def config(**changes: Any) -> Config:
    return parse_config(json.dumps({**MINIMAL, **changes}).encode(), "config.json")


@pytest.fixture(autouse=True)
def ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that lacks nothing, with the user's manager up."""
    for name in FINDERS:
        monkeypatch.setattr(preflight, name, lambda *_, **__: iter(()))
    monkeypatch.setattr(preflight, "require_podman", lambda: None)
    monkeypatch.setattr(preflight, "account_of", lambda uid: Account(uid, uid))
    monkeypatch.setattr(preflight, "read_sources", dict)
    monkeypatch.setattr(preflight, "_absent_images", lambda *_: {})


def findings(config: Config) -> list[str]:
    try:
        preflight.preflight(config, render(config))
    except GeneratorError as error:
        return list(map(str, error.findings))
    return []


def test_a_host_that_lacks_nothing_is_ready() -> None:
    assert findings(config()) == []


def test_lines_of_a_file_are_told_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [Finding("x", f"/a has no = in line {n}; fix it") for n in (10, 2, 1)]
    monkeypatch.setattr(preflight, "environment_file_findings", lambda *_: iter(found))
    assert findings(config()) == list(map(str, reversed(found)))


def test_all_that_is_found_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def finder(name: str) -> Any:
        return lambda *_, **__: iter([Finding(name, "is missing")])

    for name in FINDERS:
        monkeypatch.setattr(preflight, name, finder(name))
    # Secrets are its service's to read, and who does not exist has no manager to ask.
    of_manager = (
        *("mask_findings", "requirement_findings", "model_boot_findings"),
        "hidden_findings",
    )
    later = ("secret_findings", *of_manager)
    told = {f"{name}: is missing" for name in FINDERS if name not in later}
    assert findings(config()) == sorted(told)
    of_service = ("service_findings", "socket_findings")
    of_addresses = ("router_boot_findings", "router_findings", "router_socket_findings")
    of_llmhop = [f"{name}: is missing" for name in (*of_addresses, *of_service)]
    remote = {"models": {"far": {"url": "http://far"}}}
    alone = config(vllm={}, llmhop={"enable": True, "settings": remote})
    assert findings(alone) == of_llmhop
    monkeypatch.setattr(preflight, "user_findings", lambda _: iter(()))
    told = {*told, *(f"{name}: is missing" for name in of_manager)} - {"user_findings: is missing"}
    without = config(llmhop={"enable": False})
    assert findings(without) == sorted(told - {*of_llmhop})
    monkeypatch.setattr(preflight, "service_findings", lambda: iter(()))
    names = (*of_addresses, "secret_findings", "socket_findings")
    assert findings(alone) == [f"{name}: is missing" for name in names]


@pytest.mark.parametrize(
    "name",
    [
        *("require_podman", "_absent_images", "mask_findings", "model_boot_findings"),
        *("requirement_findings", "unit_findings", "hidden_findings", "router_socket_findings"),
    ],
)
def test_a_program_that_can_not_be_asked_is_a_finding(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Iterator[Finding]:
        raise GeneratorError("can't be asked")

    monkeypatch.setattr(preflight, name, refuse)
    [finding] = findings(config())
    assert finding.endswith(": can't be asked")


@pytest.mark.parametrize("has_models", [False, True])
def test_a_boot_needs_the_service_of_routes_where_there_are_models(
    has_models: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(*, has_models: bool) -> Iterator[Finding]:
        yield Finding("models", str(has_models))

    monkeypatch.setattr(preflight, "router_boot_findings", told)
    remote = {"enable": True, "settings": {"models": {"far": {"url": "http://far"}}}}
    read = config(llmhop=remote) if has_models else config(llmhop=remote, vllm={})
    assert findings(read) == [f"models: {has_models}"]


def test_llmhop_without_its_group_or_unit_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> int:
        raise GeneratorError("the group llmhop does not exist")

    monkeypatch.setattr(host_router, "router_group", lambda: 1)
    monkeypatch.setattr(host_router, "foreign_command", lambda _: None)
    loads = iter(["loaded", "not-found", "masked"])

    def answer(units: list[str]) -> dict[str, UnitState]:
        return {units[0]: UnitState.parse(f"LoadState={next(loads)}")}

    monkeypatch.setattr(host_router, "system_states", answer)
    assert list(host_router.service_findings()) == []
    monkeypatch.setattr(host_router, "router_group", absent)
    for _ in range(2):
        group, unit = map(str, host_router.service_findings())
        assert group == "services.llmhop.enable: the group llmhop does not exist"
        assert unit.startswith("services.llmhop.enable: llmhop.service is not on this host")
