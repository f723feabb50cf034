"""What the service manager of the models' user is told, and what it takes for a model."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.layout import DEVICE_SERVICES

from tests.module.nix import EXAMPLES, evaluate, needs_nix, vllm

pytestmark = needs_nix

MANAGER = "lib/systemd/system/user@503.service.d/llmhop.conf"


@pytest.fixture(scope="module")
def host() -> Any:
    """Give what minimal.nix makes of a host."""
    return evaluate("host", EXAMPLES / "minimal.nix")


def test_the_user_manager_allows_the_open_files_limit_and_is_never_restarted() -> None:
    files = evaluate("host", vllm("openFilesLimit = 2000000;"))["unitFiles"]
    unit, service = files[MANAGER].split("[Service]\n")

    assert "LimitNOFILE=2000000\n" in service
    assert "X-RestartIfChanged=false\n" in service
    assert "X-StopOnRemoval=false\n" in unit


def test_the_drop_in_of_the_user_manager_is_not_named_as_nixos_names_those_of_its_template(
    host: Any,
) -> None:
    assert [name for name in host["services"] if "@" in name] == []
    assert Path(MANAGER).name != "overrides.conf"


def test_models_find_the_programs_that_rootless_podman_starts(host: Any) -> None:
    # Not by the path of the user's manager, which its units do not get.
    unit = host["unitFiles"]["lib/systemd/user/vllm-.service.d/llmhop.conf"]

    key, _, path = unit.removeprefix("[Service]\n").strip().partition("=")
    # A unit that sets a PATH, as each of NixOS's does, keeps it (systemd.exec(5)).
    assert key == "ExecSearchPath"
    assert [each.rsplit("-")[-1] for each in path.split(":")] == [
        f"{package}/bin" for package in ("podman", "systemd", "coreutils")
    ]
    assert "vllm-" not in host["userServices"]


OTHERS = "systemd.user.services"
HIDING = {
    "a service": (f'{OTHERS}.vllm-a.script = "true";', f"{OTHERS}.vllm-a is a unit"),
    "a service that is masked": (f"{OTHERS}.vllm-a.enable = false;", f"{OTHERS}.vllm-a is"),
    "a service of a model's other name": (
        f'{OTHERS}."vllm-q.3".script = "true"; services.llmhop.vllm.models.a.name = "q.3";',
        f'{OTHERS}."vllm-q.3" is a unit',
    ),
    "a unit": (
        'systemd.user.units."vllm-a.service".text = "";',
        'systemd.user.units."vllm-a.service" is a unit',
    ),
}


@pytest.mark.parametrize(("text", "told"), HIDING.values(), ids=HIDING.keys())
def test_a_unit_that_systemd_would_take_in_place_of_a_models_is_refused(
    text: str, told: str
) -> None:
    (failure,) = evaluate("failures", vllm(), f"{{ {text} }}")
    assert failure.startswith(told)
    assert "services.llmhop.vllm.models.a.name" in failure


@pytest.mark.parametrize(
    "text",
    [
        f'{OTHERS}.vllm-a = {{ overrideStrategy = "asDropin"; environment.A = "1"; }};',
        f'{OTHERS}.vllm-aa.script = "true"; {OTHERS}.a.script = "true";',
        f'{OTHERS}.vllm-a.script = "true"; services.llmhop.vllm.models.a.name = "b";',
        f'{OTHERS}.vllm-b.script = "true"; services.llmhop.vllm.models.b = {{ enable = false;'
        ' model = "m"; port = 1; };',
    ],
)
def test_other_units_of_users_are_the_administrators_business(text: str) -> None:
    assert evaluate("failures", vllm(), f"{{ {text} }}") == []


PROXIES = """{ networking.proxy.envVars = {
  https_proxy = "http://proxy.example:3128"; no_proxy = "a,\\"b";
}; }"""


def test_the_hosts_proxies_reach_pulls_and_the_containers() -> None:
    host = evaluate("host", vllm(), PROXIES)
    variables = {"https_proxy": "http://proxy.example:3128", "no_proxy": 'a,"b'}
    # The generator pulls as it is; a unit of a model by what its user's Podman is told.
    assert variables.items() <= host["services"]["llmhop-generator"]["environment"].items()
    config = tomllib.loads(
        evaluate('config.environment.etc."llmhop/containers.conf".text', vllm(), PROXIES)
    )
    *given, attribute = config["engine"].pop("env")
    assert given == [f"{name}={value}" for name, value in variables.items()]
    assert attribute == {"append": True}
    assert config == {"engine": {"healthcheck_events": False}}
    # llmhop reaches its models directly.
    assert not variables.keys() & host["services"]["llmhop"]["environment"].keys()


def test_a_proxy_reaches_the_generator_as_it_was_written() -> None:
    # systemd would take %C and %% for specifiers; the rest is NixOS's to quote.
    proxy = r"""http://u:%C3%A9%%$x\"'@proxy.example:3128"""
    module = f"{{ networking.proxy.envVars.https_proxy = {json.dumps(proxy)}; }}"
    texts = {
        unit["path"]: unit.get("text", "") for unit in evaluate("generation.files", vllm(), module)
    }
    (line,) = [
        line.removeprefix("Environment=")
        for line in texts["systemd/system/llmhop-generator.service"].splitlines()
        if "https_proxy" in line
    ]
    assert json.loads(line.replace("%%", "%")) == f"https_proxy={proxy}"
    config = tomllib.loads(texts["llmhop/containers.conf"])
    assert config["engine"]["env"][0] == f"https_proxy={proxy}"


def test_a_proxy_of_the_generators_own_wins() -> None:
    own = '{ systemd.services.llmhop-generator.environment.https_proxy = "http://own"; }'
    service = evaluate("host.services.llmhop-generator", vllm(), PROXIES, own)
    assert service["environment"]["https_proxy"] == "http://own"


def test_a_switch_does_not_start_models_before_their_new_units_are_there(host: Any) -> None:
    target = host["userTargets"]["llmhop-models"]

    assert target["wantedBy"] == ["default.target"]
    assert target["unitConfig"] == {"X-OnlyManualStart": True}


def test_models_wait_for_the_services_that_write_the_specifications_of_devices(host: Any) -> None:
    names = {"nvidia-container-toolkit-cdi-generator.service", "nvidia-cdi-refresh.service"}
    [after] = [line for line in host["unitFiles"][MANAGER].splitlines() if "After=" in line]

    assert set(after.removeprefix("After=").split()) == names == set(DEVICE_SERVICES)
    assert names <= set(host["services"]["llmhop-generator"]["after"])


def test_something_starts_the_target_for_which_rootless_units_wait(host: Any) -> None:
    wait = host["userServices"]["podman-user-wait-network-online"]

    assert wait["overrideStrategy"] == "asDropin"
    assert wait["path"] == []  # NixOS adds its default, which has systemctl and sleep
    for name in ("llmhop", "llmhop-generator"):
        assert "network-online.target" in host["services"][name]["wants"]
        assert "network-online.target" in host["services"][name]["after"]
