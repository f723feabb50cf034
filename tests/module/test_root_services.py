"""The services that run llmhop-generator as root: what they may, find and wait for."""

import subprocess
from typing import Any

import pytest

from tests.module.nix import evaluate, needs_nix, vllm

pytestmark = needs_nix

NAMES = ("llmhop-generator", "llmhop-models", "llmhop-units")


@pytest.fixture(scope="module")
def services() -> Any:
    return evaluate("host.services", vllm())


def systemd_analyze(*words: str) -> bool:
    done = subprocess.run(["systemd-analyze", *words], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_they_have_the_capabilities_that_they_need_and_no_other(services: Any, name: str) -> None:
    capabilities = services[name]["serviceConfig"]["CapabilityBoundingSet"]

    assert sorted(capabilities) == [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_DAC_READ_SEARCH",
        "CAP_FOWNER",
        "CAP_KILL",
        "CAP_SETGID",
        "CAP_SETUID",
        "CAP_SYS_PTRACE",
        "CAP_SYS_RESOURCE",
    ]
    assert systemd_analyze("capability", *capabilities)
    assert not systemd_analyze("capability", "CAP_NONE")


@pytest.mark.parametrize("name", NAMES)
def test_they_have_no_system_calls_of_an_administrator(services: Any, name: str) -> None:
    (calls,) = services[name]["serviceConfig"]["SystemCallFilter"]

    assert calls[0] == "~"
    groups = calls[1:].split()
    # Not @privileged, @mount and @resources, which rootless Podman needs.
    assert sorted(groups) == [
        "@clock",
        "@cpu-emulation",
        "@debug",
        "@module",
        "@obsolete",
        "@raw-io",
        "@reboot",
        "@swap",
    ]
    assert systemd_analyze("syscall-filter", *groups)
    assert not systemd_analyze("syscall-filter", "@none")


@pytest.mark.parametrize("name", NAMES)
def test_they_find_podman_and_write_what_the_models_user_can_read(services: Any, name: str) -> None:
    assert [path.rpartition("-")[2] for path in services[name]["path"]] == ["podman"]
    assert services[name]["serviceConfig"]["UMask"] == "0022"


def test_they_wait_for_the_mounts_of_what_they_read_and_write() -> None:
    models = """a = {
      model = "org/a"; port = 18001; containerConfig.Volume = "/srv/a:/a";
    };"""
    services = evaluate("host.services", vllm('dataDir = "/srv/data";', models))

    unit = {name: services[name]["unitConfig"] for name in NAMES}
    state = "/var/lib/llmhop"
    assert unit["llmhop-generator"]["RequiresMountsFor"] == [
        state,
        '"/srv/data"',
        '"/var/cache/vllm"',
    ]
    assert unit["llmhop-units"]["RequiresMountsFor"] == [state]
    assert unit["llmhop-generator"]["WantsMountsFor"] == ['"/srv/a"']
    assert unit["llmhop-units"]["WantsMountsFor"] == ['"/srv/a"']
    # It would be stopped with a mount, and take the models away.
    assert not {key for key in unit["llmhop-models"] if "Mounts" in key}
    remote = '{ services.llmhop = { enable = true; settings.models.a.url = "http://h"; }; }'
    alone = evaluate("host.services", remote)["llmhop-generator"]
    assert alone["unitConfig"]["RequiresMountsFor"] == [state]
    assert "WantsMountsFor" not in alone["unitConfig"]


def test_an_administrator_adds_to_what_a_key_of_theirs_has() -> None:
    """A key that NixOS has as one value can only be replaced, by mkForce."""
    units = """{
      services = {
        llmhop-generator.unitConfig = {
          RequiresMountsFor = [ "/more" ];
          WantsMountsFor = [ "/more" ];
        };
        llmhop-units.unitConfig = {
          ConditionPathExists = [ "/more" ];
          RequiresMountsFor = [ "/more" ];
        };
        llmhop = {
          serviceConfig.RuntimeDirectory = [ "more" ];
          unitConfig.ConditionPathExists = [ "/more" ];
        };
      };
      sockets.llmhop.unitConfig.ConditionPathExists = [ "/more" ];
    }"""
    host = evaluate("host", vllm('environmentFile = "/run/e";'), f"{{ systemd = {units}; }}")

    changed = [host["services"][name] for name in ("llmhop", "llmhop-generator", "llmhop-units")]
    changed.append(host["sockets"]["llmhop"])
    lists = [
        value
        for unit in changed
        for value in [*unit["unitConfig"].values(), *unit.get("serviceConfig", {}).values()]
        if isinstance(value, list) and {"more", "/more"} & set(value)
    ]
    assert len(lists) == 7
    assert [value for value in lists if len(value) < 2] == []


def test_the_build_names_options_as_nixos_has_them() -> None:
    assert evaluate("contractBuild", vllm())["LLMHOP_OPTION_NAMES"] == "nixos"
