"""Switches as NixOS does them, with the units to which the module evaluates.

What no Debian host can show is left to `nixos-tests/`; see its README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.nixos_host import STORE, add_generation, containers, prepare, switch
from tests.host.project import wheels
from tests.host.setup import standin_image, write
from tests.host.shared_machine import Share, SharedMachine
from tests.images.load import as_user
from tests.module.nix import evaluate, needs_nix

pytestmark = needs_nix


BASE = """{ lib, ... }: {
  networking.proxy.envVars.https_proxy = "http://127.0.0.1:9";
  # An administrator's, whose name begins as those of models do.
  systemd.user.services.vllm-own.serviceConfig = {
    Type = "oneshot";
    ExecStart = "/bin/sh -c 'echo $PATH >%t/own-path'";
  };
  services.llmhop = {
    enable = true;
    settings.models.far.url = "http://127.0.0.1:9";
    vllm = {
      enable = lib.mkDefault true;
      uid = lib.mkDefault 503;
      subUidStart = 300000;
      image = "localhost/standin";
      tag = "v0.12.0";
      # So that a healthy model is found sooner.
      containerConfig.HealthStartupInterval = "1s";
      models.a = { model = "m/a"; port = 18001; };
      models.b = { model = "m/b"; port = 18002; };
    };
  };
}"""

# What each generation has beside the base.
GENERATIONS = {
    "base": "",
    "changed": "services.llmhop.vllm.models.b.settings.seed = 1;",
    "broken": """services.llmhop.vllm.models.b = {
      environment.STANDIN_FAIL_START = "1";
      unitConfig.StartLimitBurst = 3;
      serviceConfig.RestartSec = 1;
    };""",
    "device": 'services.llmhop.vllm.models.a.devices = [ "vendor.com/device=0" ];',
    "off": "services.llmhop.vllm.enable = false;",
    "moved": 'services.llmhop.settings.listen = [ ":9000" "unix:/run/llmhop/l.sock" ];',
    "workers": "services.llmhop.settings.workers = 2;",
    "updated": 'systemd.services.llmhop.environment.UPDATED = "1";',
    "slow": 'services.llmhop.vllm.models.b.environment.STANDIN_START_DELAY = "3600";',
    "other-uid": "services.llmhop.vllm.uid = 504;",
    "drop-in": """systemd.services."user@" = {
      overrideStrategy = "asDropin";
      environment.OF_DEPLOYER = "1";
    };""",
}


def set_up(cache: Cache, machine: Machine) -> None:
    prepare(machine, wheels(cache), standin_image(cache))
    for name, module in GENERATIONS.items():
        add_generation(machine, name, evaluate("generation", BASE, f"{{ {module} }}"))


@pytest.fixture(scope="module")
def shared(share: Share, cache: Cache) -> SharedMachine:
    return share("nixos", lambda machine: set_up(cache, machine))


@pytest.fixture
def host(shared: SharedMachine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host at the generation `base`, with both of its models up."""
    for machine in shared.lend(request.node):
        goes_well(machine, "base")
        assert served(machine) == {"a", "b", "far"}
        yield machine


@pytest.fixture
def new_host(shared: SharedMachine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host that has had no generation yet; the cases after it go on with it."""
    shared.release()
    yield from shared.lend(request.node)


def goes_well(machine: Machine, generation: str) -> str:
    code, said = switch(machine, generation)
    assert code == 0, said
    return said


def served(machine: Machine, url: str = "http://127.0.0.1:8080") -> set[str]:
    listed = json.loads(machine.succeed(f"curl -fsS {url}/v1/models"))
    return {model["id"] for model in listed["data"]}


def answers(machine: Machine, *models: str) -> None:
    for model in models:
        body = json.dumps({"model": model, "prompt": "x", "max_tokens": 1})
        ask = f"curl -fsS http://127.0.0.1:8080/v1/completions -d '{body}'"
        assert json.loads(machine.succeed(ask))["model"] == model


def test_the_first_switch_brings_models_and_socket_up(new_host: Machine) -> None:
    goes_well(new_host, "base")
    answers(new_host, "a", "b")
    new_host.succeed("systemctl is-active llmhop.socket")


def test_the_same_generation_again_touches_nothing(host: Machine) -> None:
    before = containers(host)
    router = host.get_unit_property("llmhop.service", "MainPID")
    goes_well(host, "base")
    assert containers(host) == before
    assert host.get_unit_property("llmhop.service", "MainPID") == router


def test_a_changed_model_is_replaced_and_the_other_serves_on(host: Machine) -> None:
    before = containers(host)
    goes_well(host, "changed")
    after = containers(host)
    assert after["vllm-a"] == before["vllm-a"]
    assert after["vllm-b"] != before["vllm-b"]
    answers(host, "a", "b")


def test_a_broken_model_fails_the_switch_that_brings_it_and_not_the_one_that_mends_it(
    host: Machine,
) -> None:
    before = containers(host)
    code, said = switch(host, "broken")
    assert code == 4
    assert "vllm-b" in said
    assert containers(host)["vllm-a"] == before["vllm-a"]
    answers(host, "a")

    # The user's part of the next switch resets what failed, and must not start it as it was.
    host.wait_until_succeeds(f"{show('vllm-b', 'ActiveState')} | grep -qx failed")
    tries = journal_lines(host, "vllm-b.service", "Starting vllm-b")
    goes_well(host, "base")
    assert journal_lines(host, "vllm-b.service", "Starting vllm-b") == tries + 1
    assert containers(host)["vllm-a"] == before["vllm-a"]
    answers(host, "a", "b")


def test_off_ends_the_models_and_on_brings_them_back(host: Machine) -> None:
    goes_well(host, "off")
    host.fail("pgrep -u 503 -f 'vllm serve'")
    assert served(host) == {"far"}
    host.fail("ls /var/lib/llmhop/quadlet/*.container")
    # A user whose manager has just ended is still listed, and NixOS would speak to it.
    host.wait_until_succeeds("! loginctl list-users --no-legend | grep vllm", timeout=60)
    goes_well(host, "base")
    answers(host, "a", "b")


@pytest.mark.parametrize("generation", ["updated", "workers"])
def test_a_change_of_llmhop_refuses_no_client(generation: str, host: Machine) -> None:
    """The sockets stay open while a switch lasts."""
    before = host.get_unit_property("llmhop.service", "MainPID")
    ask = "curl -fsS -o /dev/null --max-time 60 http://127.0.0.1:8080/health"
    loop = f"until [ -e /run/done ]; do {ask} || exit 1; echo >> /run/answers; done"
    host.succeed("rm -f /run/done /run/answers")
    keep = "--property Type=exec --property RemainAfterExit=yes"
    host.succeed(f"systemd-run --unit ask-{generation} {keep} bash -c '{loop}'")
    goes_well(host, generation)
    assert host.get_unit_property("llmhop.service", "MainPID") != before
    host.succeed("touch /run/done")
    unit = f"ask-{generation}.service"
    # One that failed before the switch resets what failed is gone.
    ended = f"systemctl show -p SubState --value {unit} | grep -qxE 'exited|failed|dead'"
    host.wait_until_succeeds(ended, timeout=90)
    assert host.get_unit_property(unit, "SubState") == "exited"
    status = host.get_unit_property("llmhop.service", "StatusText")
    assert ("with 2 workers" in status) is (generation == "workers")


def test_another_address_is_listened_on_after_the_switch(host: Machine) -> None:
    before = containers(host)
    goes_well(host, "moved")
    assert served(host, "http://127.0.0.1:9000") == {"a", "b", "far"}
    host.succeed("curl -fsS --unix-socket /run/llmhop/l.sock http://llmhop/health")
    host.fail("curl -fsS http://127.0.0.1:8080/health")
    host.succeed("systemctl is-active llmhop.socket")
    assert containers(host) == before


def test_a_boot_does_not_wait_for_the_models(host: Machine) -> None:
    code, said = switch(host, "slow", "boot")
    assert code == 0, said
    host.reboot()
    host.wait_for_unit("multi-user.target")
    host.wait_for_unit("vllm-a.service", user="vllm")
    host.wait_until_succeeds(f"{show('vllm-b', 'SubState')} | grep -qx start", timeout=30)
    # Podman is a program behind a wrapper there, and has its name: it was not killed.
    told = json.loads(host.succeed("llmhop-generator status --json"))
    assert [model["last_error"] for model in told["models"]] == [None, None]
    answers(host, "a")


def test_a_boot_into_another_generation_starts_its_models(host: Machine) -> None:
    code, said = switch(host, "changed", "boot")
    assert code == 0, said
    host.reboot()
    for name in "ab":
        host.wait_for_unit(f"vllm-{name}.service", user="vllm")
    assert "--seed=1" in host.succeed("curl -fsS http://127.0.0.1:18002/report")
    host.wait_for_unit("llmhop-generator.service")
    host.succeed("llmhop-generator diff /etc/llmhop/contract.json")


def test_the_podman_that_runs_before_each_start_is_found(host: Machine) -> None:
    """It is the first of the user after a boot, and the one of the container is not.

    Where that one is, its readiness gets lost, but not each time.
    """
    host.reboot()
    ask = f"{show('vllm-a', 'ExecStartPre')} | grep 'podman container exists'"
    host.wait_until_succeeds(f"{ask} | grep -q code=exited", timeout=60)
    assert "status=1 " in host.succeed(ask)  # there is none
    host.wait_for_unit("vllm-b.service", user="vllm")
    # A systemd that has podman on its path by itself would show nothing.
    [path] = host.succeed("systemctl --user -M vllm@.host show-environment | grep ^PATH=").split()
    assert path == f"PATH={STORE}-systemd/bin"


@pytest.mark.parametrize(
    "disturbance",
    [
        "restart systemd-logind.service",
        "start user@503.service",
        "start llmhop-units.service",
    ],
)
def test_nothing_fails_where_logind_or_the_manager_is_started_again(
    disturbance: str, host: Machine
) -> None:
    before = containers(host)
    started = host.get_unit_property("llmhop-units.service", "ExecMainStartTimestampMonotonic")
    host.succeed(f"systemctl {disturbance}")
    # logind starts managers after its own start, so that a switch can be under way, which
    # re-executes them: who asks one then may get no answer.
    skipped = "systemctl show -p ConditionResult --value llmhop-units.service | grep -qx no"
    host.wait_until_succeeds(skipped, timeout=30)
    again = host.get_unit_property("llmhop-units.service", "ExecMainStartTimestampMonotonic")
    assert again == started
    assert host.succeed("systemctl list-units --failed --no-legend --plain") == ""
    goes_well(host, "base")
    assert containers(host) == before


def test_a_restart_of_all_models_brings_them_back_and_a_stop_ends_them(host: Machine) -> None:
    before = containers(host)
    host.succeed("systemctl restart llmhop-models")
    host.wait_until_succeeds("! systemctl list-jobs | grep llmhop-generator", timeout=60)
    host.succeed("systemctl is-active llmhop-models llmhop-generator")
    assert before.keys() == containers(host).keys()
    assert not {*before.values()} & {*containers(host).values()}
    answers(host, "a", "b")

    host.succeed("systemctl stop llmhop-models")
    assert containers(host) == {}
    host.succeed("systemctl start llmhop-models")
    host.wait_until_succeeds("! systemctl list-jobs | grep llmhop-generator", timeout=60)
    answers(host, "a", "b")


def test_a_units_path_is_its_own_though_its_name_begins_as_a_models(host: Machine) -> None:
    host.succeed("systemctl --user -M vllm@.host start vllm-own")
    path = host.succeed("cat /run/user/503/own-path").strip()
    assert "podman" not in path
    assert f"{STORE}-gnused/bin" in path.split(":")


def test_the_hosts_proxies_are_those_of_a_models_container(host: Machine) -> None:
    ask = as_user("vllm", "podman", "inspect", "vllm-a", "--format={{.Config.Env}}")
    assert "https_proxy=http://127.0.0.1:9" in host.succeed(ask)


def test_other_users_do_not_get_the_models(host: Machine) -> None:
    before = containers(host)
    host.succeed("useradd --create-home alice", "loginctl enable-linger alice root")
    for user in ("alice", "root"):
        uid = host.succeed(f"id -u {user}").strip()
        host.wait_for_unit(f"user@{uid}.service")
        ask = f"systemctl --user -M {user}@.host"
        units = host.succeed(f"{ask} list-unit-files")
        assert "vllm-own" in units
        assert "vllm-a" not in units
    goes_well(host, "changed")
    assert containers(host)["vllm-a"] == before["vllm-a"]
    host.succeed("loginctl disable-linger alice root")
    host.wait_until_succeeds("! loginctl list-users --no-legend | grep -E 'alice|root'", timeout=60)
    host.succeed("userdel alice")


def test_another_uid_is_refused_before_anything_changes(host: Machine) -> None:
    """NixOS never changes the uid of a user that exists."""
    before = containers(host)
    code, said = switch(host, "other-uid")
    assert code == 1
    assert "services.llmhop.vllm.uid: is 504, but the user vllm has 503 on this host" in said
    assert containers(host) == before
    answers(host, "a", "b")


def test_a_deployers_drop_in_of_user_managers_counts_for_that_of_the_models(host: Machine) -> None:
    goes_well(host, "drop-in")
    set_ = host.succeed("systemctl show -p Environment --value user@503.service").split()
    assert {"OF_DEPLOYER=1", "CONTAINERS_CONF_OVERRIDE=/etc/llmhop/containers.conf"} <= {*set_}


def test_an_apply_by_hand_starts_a_manager_that_is_down(host: Machine) -> None:
    host.succeed("systemctl stop user@503.service")
    said = host.succeed("timeout 120 llmhop-generator apply /etc/llmhop/contract.json 2>&1")
    assert "waiting for another run" not in said
    answers(host, "a", "b")


def test_a_device_that_comes_late_at_boot_is_served_without_a_hand(host: Machine) -> None:
    """A service of another package writes its specification below /run."""
    device = {"name": "0", "containerEdits": {"env": ["DEVICE=1"]}}
    spec = {"cdiVersion": "0.5.0", "kind": "vendor.com/device", "devices": [device]}
    write(host, "/run/cdi/vendor.json", json.dumps(spec))
    goes_well(host, "device")
    host.reboot()
    # At the first failure, after which the next start is soon.
    failure = "journalctl -b -o cat USER_UNIT=vllm-a.service | grep -q 'Failed with result'"
    host.wait_until_succeeds(failure, timeout=60)
    write(host, "/run/cdi/vendor.json", json.dumps(spec))
    for name in "ab":
        host.wait_for_unit(f"vllm-{name}.service", user="vllm", timeout=120)
    answers(host, "a", "b")


def show(unit: str, what: str) -> str:
    """A command that prints a property of a unit of the models' user."""
    return f"systemctl --user -M vllm@.host show -p {what} --value {unit}"


def journal_lines(machine: Machine, unit: str, text: str) -> int:
    return machine.succeed(f"journalctl -b -o cat USER_UNIT={unit}").count(text)
