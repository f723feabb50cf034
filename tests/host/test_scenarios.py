"""Runs each script of tests/scenarios on a booted Debian host."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.host.cache import Cache
from tests.host.driver import Driver
from tests.host.project import wheels
from tests.host.setup import (
    SCENARIOS,
    Image,
    Setup,
    configs,
    environment_file,
    standin_image,
    vllm_image,
)
from tests.module.nix import REASON as NO_NIX
from tests.module.nix import canonical, evaluate

RunScenario = Callable[[str, Setup], None]


@pytest.fixture(scope="session")
def standin(cache: Cache) -> Image:
    """The stand-in engine's image."""
    return standin_image(cache)


@pytest.fixture
def run_scenario(cache: Cache, root: Path, scratch: Path, tmp_path: Path) -> RunScenario:
    """Set a fresh Debian host up, and run a script of tests/scenarios on it."""

    def run(name: str, setup: Setup) -> None:
        prepare = setup.prepare(wheels(cache))
        with Driver(["machine"], root, scratch, out_dir=tmp_path, prepare=prepare) as driver:
            driver.run(SCENARIOS / f"{name}.py")

    return run


def test_every_option_reaches_the_container(run_scenario: RunScenario, standin: Image) -> None:
    files = {
        "/etc/vllm/backend.env": "FROM_BACKEND=backend file\nFROM_BOTH=backend file\n"
        "HF_TOKEN=hf_5ecret\n",
        "/etc/vllm/model.env": "FROM_BOTH=model file\n",
        # As if the option were above every default, also where this machine's limit is low.
        "/etc/systemd/system.conf.d/limits.conf": "[Manager]\nDefaultLimitNOFILE=1024:4096\n",
    }
    run_scenario("inside", Setup("inside", configs("inside"), standin, files))


def test_keys_that_a_deployer_adds_reach_the_container(
    run_scenario: RunScenario, standin: Image
) -> None:
    # A device that only a group may open, as /dev/kfd is; the user's manager is in that group.
    gpu = "mknod -m 660 /dev/gpu1 c 1 5 && chgrp video /dev/gpu1"
    manager = f"[Service]\nSupplementaryGroups=video\nExecStartPre=+sh -c '{gpu}'\n"
    files = {"/etc/systemd/system/user@503.service.d/gpu.conf": manager}
    run_scenario("unit-keys", Setup("unit-keys", configs("unit-keys"), standin, files))


def test_hostile_strings_arrive_unchanged(run_scenario: RunScenario, standin: Image) -> None:
    texts = configs("hostile")
    files = {environment_file(texts["hostile"]): "FROM_FILE=read\n"}
    run_scenario("hostile", Setup("hostile", texts, standin, files))


def test_a_change_touches_what_changed(run_scenario: RunScenario, standin: Image) -> None:
    texts = configs("changes", "changes-more", "changes-fewer", "changes-off")
    run_scenario("changes", Setup("changes", texts, standin))


def test_no_client_notices_a_busy_day(run_scenario: RunScenario, standin: Image) -> None:
    run_scenario("busy", Setup("busy", configs("busy", "busy-more"), standin))


def test_a_failing_model_does_not_hold_up_the_others(
    run_scenario: RunScenario, standin: Image
) -> None:
    run_scenario("failing", Setup("failing", configs("failing"), standin, applied=False))


def test_routes_lead_to_where_models_are(run_scenario: RunScenario, standin: Image) -> None:
    texts = configs("routes", "routes-broken", "routes-more")
    files = {"/etc/vllm/a.env": "STANDIN_FAIL_START=1\n"}
    run_scenario("routes", Setup("routes", texts, standin, files))


def test_a_switch_there_and_back_leaves_what_is_the_same(
    run_scenario: RunScenario, standin: Image
) -> None:
    run_scenario(
        "switch", Setup("switch", configs("switch", "switch-changed", "switch-off"), standin)
    )


def test_models_come_back_however_the_host_went_down(
    run_scenario: RunScenario, standin: Image
) -> None:
    run_scenario("reboot", Setup("pair", configs("pair"), standin))


def test_containers_and_router_can_do_no_more_than_they_must(
    run_scenario: RunScenario, standin: Image
) -> None:
    # Podman by itself would map the lower range first, and all of the other.
    ranges = "vllm:200000:1000\nvllm:290000:100000\n"
    files = {"/etc/subuid": ranges, "/etc/subgid": ranges}
    run_scenario("hardening", Setup("pair", configs("pair"), standin, files))


def test_a_secret_is_where_it_is_needed_and_nowhere_else(
    run_scenario: RunScenario, standin: Image
) -> None:
    credential = "[Service]\nLoadCredential=client-token:/etc/vllm/client-token\n"
    files = {
        "/etc/vllm/vllm.env": "HF_TOKEN=hf_5ecret\n",
        "/etc/vllm/client-token": "t0ken-5ecret",
        "/etc/systemd/system/llmhop.service.d/credentials.conf": credential,
    }
    run_scenario("secrets", Setup("secrets", configs("secrets"), standin, files))


def test_a_model_comes_back_whatever_of_it_is_killed_or_deleted(
    run_scenario: RunScenario, standin: Image
) -> None:
    registry = (SCENARIOS / "registry_command.py").read_text(encoding="utf-8")
    insecure = '[[registry]]\nlocation = "127.0.0.1:5000"\ninsecure = true\n'
    files = {
        "/etc/llmhop/registry.py": registry,
        "/etc/containers/registries.conf.d/test.conf": insecure,
    }
    texts = configs("recovering", "recovering-pulled", "recovering-broken")
    run_scenario("recovering", Setup("recovering", texts, standin, files))


def test_nixos_options_become_answers_of_a_real_vllm(
    run_scenario: RunScenario, cache: Cache
) -> None:
    name = "two-models"
    # Without Nix the committed contract serves, which is compared with Nix's elsewhere.
    texts = configs(name)
    if NO_NIX is None:
        texts = {name: canonical(evaluate("contract", SCENARIOS / f"{name}.nix"))}
    run_scenario(name, Setup(name, texts, vllm_image(cache)))
