"""NixOS and a plain host get the same: module and generator are compared."""

import json
import socket
from collections import defaultdict
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from llmhop_generator.contract.options import Config
from llmhop_generator.contract.schema import contract_schema
from llmhop_generator.errors import GeneratorError
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.host_tree import host_files
from llmhop_generator.router.check import default_llmhop, judge_by

from tests.module.nix import EXAMPLES, ROOT, evaluate, evaluate_text, needs_nix, vllm

pytestmark = needs_nix

SHORTEST = {
    "version": 1,
    "vllm": {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "tag": "v0.11.0",
        "models": {"a": {"model": "org/a", "port": 18001}},
    },
}


def parse(contract: Any) -> Config:
    return parse_config(json.dumps(contract).encode(), "contract")


def section(text: str, name: str) -> dict[str, list[str]]:
    """One section of a unit file, with every value of each key."""
    found: dict[str, list[str]] = defaultdict(list)
    body = text.split(f"[{name}]\n")[1].split("\n\n")[0]
    for line in body.splitlines():
        if line.startswith("#"):
            continue
        key, value = line.split("=", 1)
        found[key].append(value)
    return dict(found)


def as_lines(value: Any) -> list[str]:
    """A service option of NixOS as the values that it becomes in the unit."""
    if isinstance(value, list):
        return [line for item in value for line in as_lines(item)]
    return ["true" if value is True else str(value)]


def test_the_shortest_json_means_what_the_shortest_module_means() -> None:
    assert parse(SHORTEST) == parse(evaluate("contract", vllm()))


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.nix")), ids=lambda path: path.stem)
def test_what_the_module_emits_satisfies_the_published_schema(path: Any) -> None:
    Draft202012Validator(contract_schema()).validate(evaluate("contract", path))


def test_a_disabled_module_satisfies_the_published_schema() -> None:
    contract = evaluate(
        'config.environment.etc."llmhop/contract.json".source.text',
        '{ services.llmhop.settings.models.a.url = "http://h"; services.llmhop.enable = true; }',
    )
    assert contract
    Draft202012Validator(contract_schema()).validate(json.loads(contract))


def test_llmhop_runs_alike_on_nixos_and_elsewhere() -> None:
    rendered = host_files(parse(SHORTEST), "llmhop")["systemd/system/llmhop.service"]
    ours = section(rendered, "Service")
    service = evaluate("host.services.llmhop", vllm())
    theirs = {key: as_lines(value) for key, value in service["serviceConfig"].items()}
    for command in ("ExecStart", "ExecReload"):
        assert ours.pop(command)[0].split()[1:] == theirs.pop(command)[0].split()[1:]
    assert ours == theirs
    unit = section(rendered, "Unit")
    declared = "config.systemd.services.llmhop.startLimit"
    assert unit["StartLimitBurst"] == [str(evaluate(f"{declared}Burst", vllm()))]
    assert unit["StartLimitIntervalSec"] == [str(evaluate(f"{declared}IntervalSec", vllm()))]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"port": 9000},
        {"host": "::1"},
        {"host": "", "port": 9000},
        {"host": "gpu.example"},
        {"listen": ":09000"},
        {"listen": "[fe80::1]:9000", "socketMode": "0600"},
        {"listen": "localhost:9000"},
        {"listen": "127.0.0.1:0"},
        {"listen": ["127.0.0.1:9000", "unix:/run/llmhop/a b.sock"]},
        {"listen": ["127.0.0.1:9000", "h:9001"]},
        {"listen": "255.0.0.1:9000"},
        {"listen": "192.168.1.300:9000"},
        {"listen": "127.0.0.01:9000"},
        {"host": "010.0.0.1"},
    ],
    ids=str,
)
def test_llmhops_socket_is_alike_on_nixos_and_elsewhere(settings: dict[str, Any]) -> None:
    rendered = host_files(parse(SHORTEST | {"llmhop": {"settings": settings}}), "llmhop")
    text = json.dumps(json.dumps(settings))
    module = f"{{ services.llmhop.settings = builtins.fromJSON {text}; }}"
    host = evaluate("host", vllm(), module)
    service = section(rendered["systemd/system/llmhop.service"], "Unit")
    declared = host["services"]["llmhop"]
    assert service.get("Requires", []) == declared["requires"]
    assert service["After"] == [" ".join(declared["after"])]
    ours = rendered.get("systemd/system/llmhop.socket")
    if ours is None:
        assert host["sockets"] == {}
        return
    theirs = host["sockets"]["llmhop"]
    lines = section(ours, "Socket")
    assert lines.pop("ListenStream") == theirs["listenStreams"]
    assert lines == {key: as_lines(value) for key, value in theirs["socketConfig"].items()}
    assert section(ours, "Unit")["ConditionPathExists"] == as_lines(
        theirs["unitConfig"]["ConditionPathExists"]
    )
    assert section(ours, "Install")["WantedBy"] == theirs["wantedBy"]


def test_nix_gives_systemd_the_ipv4_addresses_that_inet_pton_takes() -> None:
    numbers = [*map(str, range(1100)), "", "00", "01", "010", "0255", "x", "-1", " 1"]
    hosts = [f"{number}.0.0.1" for number in numbers] + [f"1.0.0.{number}" for number in numbers]
    hosts += ["1", "1.2.3", "1.2.3.4.5", "1.2.3.4.", "1.2.3.4\n"]
    texts = json.dumps(json.dumps([f"{host}:80" for host in hosts]))
    taken = evaluate_text(
        f"""let lib = import <nixpkgs/lib>; in map
          (listen: (import {ROOT}/module/lib/listen.nix {{
            inherit lib; settings.listen = listen;
          }}).streams != null)
          (builtins.fromJSON {texts})"""
    )

    assert dict(zip(hosts, taken, strict=True)) == {host: is_address(host) for host in hosts}


def is_address(host: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    "address", ["192.168.1.300:8080", "127.0.0.01:8081", "010.0.0.1:80", "[1:2]:80"]
)
def test_an_address_that_is_none_fails_the_build_by_its_option(address: str) -> None:
    settings = f'{{ services.llmhop.settings.listen = [ ":9000" "{address}" ]; }}'
    contract = evaluate("config.services.llmhop.contract", vllm(), settings)
    with pytest.raises(GeneratorError) as caught:
        parse_config(json.dumps(contract).encode(), "contract", judge_by(default_llmhop()))

    [problem] = caught.value.findings
    assert str(problem).startswith("services.llmhop.settings.listen[1]: has a host that is not")


def test_directories_are_alike_on_nixos_and_elsewhere() -> None:
    rendered = host_files(parse(SHORTEST), "llmhop")["tmpfiles.d/llmhop.conf"]
    ours = {
        line.split()[1].strip('"'): line.split()[2]
        for line in rendered.splitlines()
        if line.startswith("d ")
    }
    declared = evaluate("host.tmpfiles", vllm())["10-llmhop"]
    theirs = {path: rules["d"]["mode"] for path, rules in declared.items()}
    # Elsewhere the units lie in the directory itself, on NixOS behind a link to this one.
    theirs["/etc/containers/systemd/users/503/llmhop"] = theirs.pop("/var/lib/llmhop/quadlet")
    assert ours == theirs


@pytest.mark.parametrize("limit", [None, 2000000])
def test_the_user_manager_is_set_up_alike_on_nixos_and_elsewhere(limit: int | None) -> None:
    shortest = SHORTEST["vllm"] | ({} if limit is None else {"openFilesLimit": limit})  # type: ignore[operator]
    files = host_files(parse({"version": 1, "vllm": shortest}), "llmhop")
    ours = files["systemd/system/user@503.service.d/llmhop.conf"]
    more = "" if limit is None else f"openFilesLimit = {limit};"
    theirs = evaluate("host.unitFiles", vllm(more))[
        "lib/systemd/system/user@503.service.d/llmhop.conf"
    ]
    for name in ("Unit", "Service"):
        declared = section(theirs, name)
        # For switches of NixOS.
        plain = {key: words for key, words in declared.items() if not key.startswith("X-")}
        assert section(ours, name) == plain


def test_the_target_of_models_is_alike_on_nixos_and_elsewhere() -> None:
    ours = host_files(parse(SHORTEST), "llmhop")["systemd/user/llmhop-models.target"]
    theirs = evaluate("host.userTargets", vllm())["llmhop-models"]
    assert section(ours, "Unit")["Description"] == [theirs["description"]]
    assert section(ours, "Install")["WantedBy"] == theirs["wantedBy"]


def test_podman_writes_no_line_for_a_check_of_health_that_succeeds() -> None:
    files = host_files(parse(SHORTEST), "llmhop")
    setting = section(files["systemd/system/user@503.service.d/llmhop.conf"], "Service")
    path = setting["Environment"][0].removeprefix("CONTAINERS_CONF_OVERRIDE=/etc/")
    text = evaluate(f'config.environment.etc."{path}".text', vllm())
    ours = [line for line in files[path].splitlines() if not line.startswith("#")]
    assert ours == text.splitlines() == ["[engine]", "healthcheck_events = false"]
