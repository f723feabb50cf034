"""What the module declares on the host, beside the contract."""

import json
from typing import Any

import pytest
from llmhop_generator.contract.options import Vllm
from llmhop_generator.parse.load import parse_config

from tests.module.nix import EXAMPLES, ROOT, evaluate, needs_nix, vllm

pytestmark = needs_nix

REMOTE = """{ services.llmhop = {
  enable = true;
  settings.models.remote.url = "https://example.org";
}; }"""


@pytest.fixture(scope="module")
def host() -> Any:
    """Give what minimal.nix makes of a host."""
    return evaluate("host", EXAMPLES / "minimal.nix")


def test_the_user_has_fixed_ids_linger_and_its_own_subordinate_ranges() -> None:
    users = evaluate("host", vllm("gid = 504; subGidStart = 400000; subGidCount = 9;"))["users"]

    user = users["users"]["vllm"]
    assert (user["uid"], user["group"], user["home"]) == (503, "vllm", "/var/lib/vllm")
    assert user["isSystemUser"] is True
    assert user["linger"] is True
    assert user["autoSubUidGidRange"] is False
    assert user["subUidRanges"] == [{"startUid": 300000, "count": 65536}]
    assert user["subGidRanges"] == [{"startGid": 400000, "count": 9}]
    assert users["groups"]["vllm"]["gid"] == 504


def test_a_user_of_the_deployers_is_not_declared_but_owns_the_directories() -> None:
    deployers = '{ users.users.ai = { uid = 503; group = "staff"; }; users.groups.staff = { }; }'
    host = evaluate("host", vllm('user = "ai"; group = "staff"; gid = 50;'), deployers)

    assert host["users"]["users"].keys() == {"ai", "llmhop"}
    assert host["users"]["users"]["ai"]["linger"] is None
    assert host["users"]["users"]["ai"]["subUidRanges"] == []
    assert host["users"]["groups"]["staff"]["gid"] is None
    rules = host["tmpfiles"]["10-llmhop"]
    assert (rules["/var/lib/vllm"]["d"]["user"], rules["/var/lib/vllm"]["d"]["group"]) == (
        "503",
        "50",
    )


def test_directories_are_closed_to_others_and_owned_by_number(host: Any) -> None:
    rules = {
        path: (rule["d"]["mode"], rule["d"]["user"], rule["d"]["group"])
        for path, rule in host["tmpfiles"]["10-llmhop"].items()
    }

    assert rules == {
        "/var/lib/vllm": ("0700", "503", "503"),
        "/var/cache/vllm": ("0750", "503", "503"),
        "/var/lib/llmhop": ("0755", "root", "root"),
        "/var/lib/llmhop/quadlet": ("0755", "root", "root"),
    }


def test_the_directory_of_quadlet_units_is_a_link_to_a_writable_place(host: Any) -> None:
    assert host["etc"]["containers/systemd/users/503/llmhop"] == "/var/lib/llmhop/quadlet"
    assert host["virtualisation"]["podman"]["enable"] is True


def test_the_generator_applies_the_contract_once_the_users_manager_runs(host: Any) -> None:
    service = host["services"]["llmhop-generator"]
    command = service["serviceConfig"]["ExecStart"].split()

    assert command[0].endswith("/bin/llmhop-generator")
    # A boot does not wait for the models, and a switch does.
    contract = host["etc"]["llmhop/contract.json"]
    assert command[1:] == ["apply", "--no-wait-at-boot", contract]
    assert service["serviceConfig"]["Type"] == "oneshot"
    assert service["serviceConfig"]["RemainAfterExit"] is True
    assert service["serviceConfig"]["TimeoutStartSec"] == "infinity"
    assert service["wantedBy"] == ["multi-user.target"]
    for unit in ("systemd-logind.service", "linger-users.service", "user@503.service"):
        assert unit in service["after"]
        assert unit in service["wants"]
    assert service["environment"]["LLMHOP_QUADLET"].endswith("-podman/libexec/podman/quadlet")
    assert service["environment"]["LLMHOP_COMMAND"].endswith("-llmhop/bin/llmhop")


def test_a_switch_that_need_not_wait_for_the_models_does_not() -> None:
    host = evaluate("host", vllm(), "{ services.llmhop.waitUntilHealthy = false; }")

    command = host["services"]["llmhop-generator"]["serviceConfig"]["ExecStart"].split()
    assert command[1:] == ["apply", "--no-wait", host["etc"]["llmhop/contract.json"]]


def test_units_are_in_place_before_the_users_manager_looks_for_them(host: Any) -> None:
    service = host["services"]["llmhop-units"]
    command = service["serviceConfig"]["ExecStart"].split()

    assert command[1:] == ["apply", "--files-only", host["etc"]["llmhop/contract.json"]]
    assert service["wantedBy"] == ["user@503.service"]
    assert service["before"] == ["user@503.service", "llmhop.service"]
    condition = service["unitConfig"]["ConditionPathExists"]
    assert condition == ["!/run/user/503/systemd/private"]
    assert service["restartIfChanged"] is False


def test_services_of_root_have_few_capabilities_and_no_mount_namespace(host: Any) -> None:
    for name in ("llmhop-generator", "llmhop-models", "llmhop-units"):
        service = host["services"][name]["serviceConfig"]
        capabilities = service["CapabilityBoundingSet"]
        # Without it no limit of a running manager can be raised; the Debian host has none.
        assert "CAP_SYS_RESOURCE" in capabilities
        assert not {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SYS_MODULE"} & {*capabilities}
        # systemd.exec(5): these would need one, or end newuidmap's being setuid.
        assert not [key for key in service if key.startswith(("Protect", "Private", "ReadOnly"))]
        assert not {"NoNewPrivileges", "RestrictSUIDSGID", "RestrictNamespaces"} & service.keys()


def test_models_go_with_their_service_but_neither_at_an_update_nor_at_shutdown(host: Any) -> None:
    service = host["services"]["llmhop-models"]

    assert service["serviceConfig"]["ExecStop"].split()[1] == "apply"
    assert service["serviceConfig"]["TimeoutStopSec"] == "infinity"
    assert service["serviceConfig"]["RemainAfterExit"] is True
    assert service["restartIfChanged"] is False
    assert service["unitConfig"]["DefaultDependencies"] is False


def test_a_restart_or_start_of_the_service_of_all_models_brings_them_back(host: Any) -> None:
    """PartOf= passes a restart on, Wants= a start; After= has them end before they start."""
    generator = host["services"]["llmhop-generator"]

    assert host["services"]["llmhop-models"]["wants"] == ["llmhop-generator.service"]
    assert generator["partOf"] == ["llmhop-models.service"]
    assert "llmhop-models.service" in generator["after"]
    assert evaluate("host.services.llmhop-generator", REMOTE)["partOf"] == []


@pytest.mark.parametrize(
    ("more", "stays"),
    [
        ("", None),
        ('services.llmhop.settings.models.a.aliases = [ "b" ];', None),
        ('services.llmhop.settings.models.far.url = "https://x.org";', {"far"}),
    ],
)
def test_where_vllm_goes_llmhop_stays_if_it_has_other_models(
    more: str, stays: set[str] | None
) -> None:
    contract = evaluate("withoutVllm", vllm(), f"{{ {more} }}")
    config = parse_config(json.dumps(contract).encode(), "contract")

    assert not isinstance(config.vllm, Vllm)
    assert config.llmhop.enable is (stays is not None)
    assert stays is None or (config.llmhop.settings.models or {}).keys() == stays


def test_the_contract_is_rendered_and_its_units_are_read_when_the_system_is_built() -> None:
    contract = evaluate("contractBuild", vllm())

    assert contract["script"].split()[:4] == [
        "llmhop-generator",
        "render",
        '"$textPath"',
        "--verify",
    ]
    assert contract["passAsFile"] == ["text"]
    assert contract["LLMHOP_QUADLET"].endswith("-podman/libexec/podman/quadlet")
    assert any(path.endswith("-systemd") for path in contract["nativeBuildInputs"])


def test_a_host_for_another_processor_is_checked_by_programs_of_the_machine_that_builds() -> None:
    packages = f"(import {ROOT}/tests/module/packages.nix {{ inherit lib; }}).pkgs.cross"
    cross = f"{{ lib, ... }}: {{ _module.args.pkgs = lib.mkForce {packages}; }}"
    contract = evaluate("contractBuild", vllm(), cross)

    assert "build-podman" in contract["LLMHOP_QUADLET"]
    assert all("-build-" in path for path in contract["nativeBuildInputs"])
    services = evaluate("host.services", vllm(), cross)
    assert "build-" not in str(services)


def test_packages_of_an_overlay_are_those_of_the_host() -> None:
    pkgs = f"(import {ROOT}/tests/module/packages.nix {{ inherit lib; }})"
    overlay = f"""{{ lib, ... }}: {{ _module.args.pkgs = lib.mkForce ({pkgs}.pkgs // {{
      llmhop = {pkgs}.derivation "theirs";
    }}); }}"""
    services = evaluate("host.services", vllm(), overlay)
    assert "-theirs/bin/theirs --config" in services["llmhop"]["serviceConfig"]["ExecStart"]


def test_a_generator_that_can_not_be_overridden_will_do() -> None:
    package = 'type = "derivation"; name = "g"; outPath = "/nix/store/g"; meta.mainProgram = "g";'
    own = f"{{ services.llmhop.generatorPackage = {{ {package} }}; }}"
    service = evaluate("host.services", vllm(), own)["llmhop-generator"]
    assert service["serviceConfig"]["ExecStart"].startswith("/nix/store/g/bin/g apply ")


def test_settings_are_judged_by_the_llmhop_that_serves() -> None:
    package = 'type = "derivation"; name = "l"; outPath = "/nix/store/other"'
    other = f'{{ services.llmhop.package = {{ {package}; meta.mainProgram = "l"; }}; }}'
    judge = ["--set-default", "LLMHOP_COMMAND"]

    own = evaluate("judge", vllm())
    assert own[:2] == judge
    assert own[2].endswith("-llmhop/bin/llmhop")
    assert evaluate("judge", vllm(), other) == [*judge, "/nix/store/other/bin/l"]


def test_llmhop_does_not_wait_for_the_generator_which_waits_for_the_models(host: Any) -> None:
    service = host["services"]["llmhop"]

    assert "llmhop-generator.service" not in service["after"] + service["wants"]
    assert service["unitConfig"]["ConditionPathExists"] == ["/var/lib/llmhop/llmhop.json"]


def test_llmhop_runs_as_its_own_user_and_reloads_by_notification(host: Any) -> None:
    service = host["services"]["llmhop"]["serviceConfig"]
    config = "--config /var/lib/llmhop/llmhop.json"

    assert host["services"]["llmhop"]["stopIfChanged"] is False  # nor is its socket stopped
    assert service["ExecStart"].endswith(f"-llmhop/bin/llmhop {config}")
    assert service["ExecReload"].endswith(f"-llmhop/bin/llmhop --check --without-secrets {config}")
    assert service["Type"] == "notify-reload"
    assert (service["User"], service["Group"]) == ("llmhop", "llmhop")
    assert host["users"]["users"]["llmhop"]["isSystemUser"] is True
    assert "AF_UNIX" in service["RestrictAddressFamilies"]


def test_the_start_limit_of_llmhop_can_trip() -> None:
    service = "config.systemd.services.llmhop"
    limits = evaluate(service, EXAMPLES / "minimal.nix")
    times = limits["serviceConfig"]
    longest = times["TimeoutStartSec"] + times["RestartSec"]

    assert times["Restart"] == "always"
    assert longest * limits["startLimitBurst"] <= limits["startLimitIntervalSec"]


def test_credentials_can_be_added_to_llmhop() -> None:
    service = evaluate("host", EXAMPLES / "remote.nix")["services"]["llmhop"]

    assert service["serviceConfig"]["LoadCredential"] == [
        "api-token:/etc/llmhop/api-token",
        "openai-key:/etc/llmhop/openai-key",
    ]


def test_no_configured_value_reaches_a_unit_so_that_units_stay_the_generators_job() -> None:
    marked = vllm('image = "MARK"; environment.A = "MARK"; modelSettings.b = "MARK";')
    host = evaluate("host", marked, '{ services.llmhop.settings.authTokens = [ "$MARK" ]; }')

    assert "MARK" not in str(host)
    assert evaluate("contractText", marked).count("MARK") == 3


def test_without_vllm_only_the_router_is_declared() -> None:
    host = evaluate("host", REMOTE)

    assert host["services"].keys() == {"llmhop", "llmhop-generator"}
    assert "user@503.service" not in host["services"]["llmhop-generator"]["after"]
    assert host["users"]["users"].keys() == {"llmhop"}
    assert host["tmpfiles"]["10-llmhop"].keys() == {"/var/lib/llmhop"}
    assert host["etc"].keys() == {"llmhop/contract.json"}
    assert host["userServices"] == host["userTargets"] == host["unitFiles"] == {}
    assert host["virtualisation"]["podman"]["enable"] is False


def test_without_llmhop_only_the_models_are_declared() -> None:
    host = evaluate("host", vllm(), "{ services.llmhop.enable = false; }")

    assert host["services"].keys() == {
        "llmhop-generator",
        "llmhop-models",
        "llmhop-units",
    }
    assert host["users"]["users"].keys() == {"vllm"}


def test_the_module_declares_nothing_where_it_is_only_imported() -> None:
    host = evaluate("host")

    assert host["services"] == host["userServices"] == host["etc"] == host["tmpfiles"] == {}
    assert host["users"] == {"users": {}, "groups": {}}
    assert host["virtualisation"]["podman"]["enable"] is False


def test_the_module_can_be_imported_twice() -> None:
    minimal = EXAMPLES / "minimal.nix"
    again = f"{{ imports = [ {ROOT}/module {ROOT}/module/default.nix ]; }}"

    assert evaluate("contract", minimal, again) == evaluate("contract", minimal)


def test_an_administrator_has_the_generators_command() -> None:
    (package,) = evaluate("host", vllm())["packages"]

    assert "llmhop-generator" in package
