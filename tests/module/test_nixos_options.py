"""The stand-in for NixOS's options refuses what NixOS refuses, so that the module's tests can."""

import pytest

from tests.module.nix import NixError, evaluate, needs_nix

pytestmark = needs_nix

WRONG_TYPES = {
    "a user's id": 'users.users.a.uid = "503";',
    "a description over two lines": 'users.users.a.description = "a\\nb";',
    "a home with a colon": 'users.users.a.home = "/a:b";',
    "whether a user lingers": 'users.users.a.linger = "yes";',
    "a range without its start": "users.users.a.subUidRanges = [ { count = 1; } ];",
    "an unknown option of a user": 'users.users.a.shel = "/bin/sh";',
    "a unit without its suffix": 'systemd.services.a.after = [ "network" ];',
    "an unknown option of a service": 'systemd.services.a.exec = "/bin/true";',
    "an unknown kind of service": 'systemd.services.a.serviceConfig.Type = "notified";',
    "an unknown way of restart": 'systemd.services.a.serviceConfig.Restart = "often";',
    "a set as a key": "systemd.services.a.serviceConfig.A = { b = 1; };",
    "two values of one key": """
      systemd.services = lib.mkMerge [
        { a.serviceConfig.Nice = 1; }
        { a.serviceConfig.Nice = 2; }
      ];
    """,
    "environment of another type": "systemd.services.a.environment.A = 1;",
    "a mode as a number": 'systemd.tmpfiles.settings.a."/b".d.mode = 755;',
    "an unknown key of a rule": 'systemd.tmpfiles.settings.a."/b".d.owner = "root";',
    "a rule that is no line": "systemd.tmpfiles.rules = [ { } ];",
    "a source that is no path": 'environment.etc.a.source = "relative";',
    "text and source": 'environment.etc.a = { text = "a"; source = /b; };',
    "a port beyond the last": "networking.firewall.allowedTCPPorts = [ 65536 ];",
    "a package that is a name": 'virtualisation.podman.package = "podman";',
    "an option that NixOS does not have": "virtualisation.podmann.enable = true;",
}


@pytest.mark.parametrize("text", WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_a_wrong_definition_is_an_error(text: str) -> None:
    with pytest.raises(NixError, match=r"option|conflicting definition"):
        evaluate("everything", f"{{ lib, ... }}: {{ {text} }}")


ASSERTED = {
    "a user of neither kind": 'users.users.a.group = "users";',
    "a system user among the others": "users.users.a = { isNormalUser = true; uid = 503; };",
    "a user without a group": "users.users.a.isSystemUser = true;",
    "a group that nobody declares": 'users.users.a = { isSystemUser = true; group = "b"; };',
    "one id twice": "users.groups = { a.gid = 5; b.gid = 5; };",
    "an immutable /etc with the Perl script": """
      system.etc.overlay = { enable = true; mutable = false; };
    """,
    "both ways to make users": """
      systemd.sysusers.enable = true;
      services.userborn.enable = true;
    """,
}


@pytest.mark.parametrize("text", ASSERTED.values(), ids=ASSERTED.keys())
def test_what_nixos_asserts_fails(text: str) -> None:
    assert len(evaluate("failures", f"{{ {text} }}")) == 1


def test_gpus_need_their_driver() -> None:
    without = """{ lib, ... }: {
      hardware.nvidia-container-toolkit.enable = true;
      services.xserver.videoDrivers = lib.mkForce [ ];
    }"""
    (failure,) = evaluate("failures", without)
    assert "nvidia drivers" in failure


def test_what_nixos_warns_of_is_a_warning() -> None:
    late = '{ systemd.services.a.after = [ "network-online.target" ]; }'
    again = '{ systemd.services.a.serviceConfig = { Type = "oneshot"; Restart = "always"; }; }'
    assert [len(evaluate("warnings", module)) for module in (late, again)] == [1, 1]
