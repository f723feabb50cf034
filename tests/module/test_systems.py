"""The kinds of NixOS that the module runs on: /etc, who makes users, several hosts."""

import pytest

from tests.module.nix import ROOT, evaluate, evaluate_text, needs_nix, vllm

pytestmark = needs_nix

USERBORN = "{ services.userborn.enable = true; }"
USERBORN_BEFORE = f"""{{
  imports = [ {ROOT}/tests/module/userborn-before.nix ];
  services.userborn.enable = true;
}}"""
OVERLAY = "{ system.etc.overlay = { enable = true; mutable = %s; }; }"
SYSUSERS = "{ systemd.sysusers.enable = true; }"

SYSTEMS = {
    "classic /etc": [],
    "overlay": [OVERLAY % "true"],
    "overlay, sysusers": [OVERLAY % "true", SYSUSERS],
    "read-only /etc, sysusers": [OVERLAY % "false", SYSUSERS],
    "read-only /etc, Userborn": [OVERLAY % "false", USERBORN],
    "read-only /etc, an older Userborn": [OVERLAY % "false", USERBORN_BEFORE],
}


@pytest.mark.parametrize("modules", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_a_host_of_any_kind_is_accepted_and_serves_the_same(modules: list[str]) -> None:
    host = evaluate("kind", vllm(), *modules)

    assert (host["failures"], host["warnings"]) == ([], [])
    assert host["contract"] == evaluate("contract", vllm())
    # Nothing is declared below /etc that would have to be written after the build.
    etc = host["etc"]
    assert etc.pop("containers/systemd/users/503/llmhop") == ["/var/lib/llmhop/quadlet", "symlink"]
    assert etc.pop("llmhop/contract.json")[0].startswith("/nix/store/")
    assert etc.pop("llmhop/containers.conf")[1] == "symlink"
    assert etc.keys() <= {"subuid", "subgid"}
    assert not [path for path in host["directories"] if path.startswith("/etc")]


WRITERS = {
    "the Perl script": ([], False),
    "sysusers": ([SYSUSERS], True),
    "Userborn": ([USERBORN], False),
    "Userborn that is given no ranges": ([USERBORN_BEFORE], True),
}


@pytest.mark.parametrize(("modules", "ours"), WRITERS.values(), ids=WRITERS.keys())
def test_the_ranges_of_ids_are_written_where_nixos_does_not(modules: list[str], ours: bool) -> None:
    files = evaluate("subids", vllm("subGidStart = 400000; subGidCount = 9;"), *modules)

    # newuidmap opens no links.
    subuid = {"text": "vllm:300000:65536\n", "mode": "0444"}
    subgid = {"text": "vllm:400000:9\n", "mode": "0444"}
    assert files == ({"subuid": subuid, "subgid": subgid} if ours else {})


OWN = """{
  users.groups.ai.gid = 503;
  users.users.ai = {
    uid = 503;
    group = "ai";
    home = "/var/lib/vllm";
    linger = true;
    %s
  };
}"""


def test_ranges_of_a_deployers_own_user_and_of_others_are_kept() -> None:
    ranges = "subUidRanges = [ { startUid = 300000; count = 70000; } ];"
    ranges += "subGidRanges = [ { startGid = 300000; count = 70000; } ];"
    others = """{ environment.etc.subuid.text = "someone:100000:65536\\n"; }"""

    files = evaluate("subids", vllm('user = "ai";'), OWN % ranges, others, SYSUSERS)

    assert sorted(files["subuid"]["text"].splitlines()) == [
        "",
        "ai:300000:70000",
        "someone:100000:65536",
    ]


OTHERS = """{
  users.users.alice = {
    isNormalUser = true;
    subUidRanges = [ { startUid = 500000; count = 65536; } { startUid = 700000; } ];
    subGidRanges = [ { startGid = 600000; count = 65536; } ];
  };
  users.users.bob = { isSystemUser = true; group = "users"; };
  users.users.carol = {
    enable = false;
    isNormalUser = true;
    subUidRanges = [ { startUid = 900000; } ];
  };
}"""


@pytest.mark.parametrize("module", [SYSUSERS, USERBORN_BEFORE], ids=["sysusers", "Userborn"])
def test_ranges_that_others_declare_stand_beside_ours(module: str) -> None:
    files = evaluate("subids", vllm(), OTHERS, module)

    assert {name: file["text"].splitlines() for name, file in files.items()} == {
        "subuid": ["alice:500000:65536", "alice:700000:1", "vllm:300000:65536"],
        "subgid": ["alice:600000:65536", "vllm:300000:65536"],
    }


@pytest.mark.parametrize(
    ("module", "option"),
    [(SYSUSERS, "systemd.sysusers.enable"), (USERBORN_BEFORE, "services.userborn.enable")],
)
def test_automatic_ranges_that_the_file_would_lose_are_refused_only_where_they_were_asked_for(
    module: str, option: str
) -> None:
    people = """{
      users.users.alice.isNormalUser = true;
      users.users.bob = { isSystemUser = true; group = "users"; autoSubUidGidRange = true; };
      users.users.carol = { enable = false; isNormalUser = true; };
    }"""
    forced = "{ lib, ... }: { users.users.bob.autoSubUidGidRange = lib.mkForce false; }"

    (failure,) = evaluate("failures", vllm(), people, module)
    (warning,) = evaluate("warnings", vllm(), people, module)

    for told, name in ((failure, "bob"), (warning, "alice")):
        assert told.startswith(f"users.users.{name}.autoSubUidGidRange is true,")
        assert option in told
        assert "set autoSubUidGidRange = false" in told
    assert evaluate("failures", vllm(), people) == []
    assert evaluate("failures", vllm(), people, USERBORN) == []
    assert evaluate("warnings", vllm(), people, USERBORN) == []
    # NixOS sets it for every person, who may have no containers at all.
    assert evaluate("failures", vllm(), people, forced, module) == []
    without = "{ users.users.alice.autoSubUidGidRange = false; }"
    assert evaluate("warnings", vllm(), people, forced, without, module) == []


def test_automatic_ranges_do_where_nixos_gives_them_and_not_elsewhere() -> None:
    user = OWN % "autoSubUidGidRange = true;"
    # One of those that NixOS gives: 65536 from 100000 on.
    module = vllm('user = "ai";').replace("300000", "100000")

    assert evaluate("failures", module, user) == []
    assert len(evaluate("failures", module, user, SYSUSERS)) == 2


def test_two_hosts_of_one_flake_have_nothing_to_do_with_each_other() -> None:
    other = vllm(models='b = { model = "org/b"; port = 9; };')
    shown = evaluate_text(
        f"""
          let
            flake = import {ROOT}/tests/module/flake.nix;
            host = module: (flake.nixpkgs.lib.nixosSystem {{
              modules = [ flake.outputs.nixosModules.default module ];
            }}).config;
            contract = config: builtins.fromJSON
              config.environment.etc."llmhop/contract.json".source.text;
            hosts = {{
              one = host ({vllm()});
              two = host ({other});
            }};
          in
          builtins.mapAttrs (_: config: builtins.attrNames (contract config).vllm.models) hosts
        """
    )

    assert shown == {"one": ["a"], "two": ["b"]}
