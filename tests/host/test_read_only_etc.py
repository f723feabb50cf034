"""A host whose /etc is read-only, as NixOS's can be: units lie behind a link that was declared."""

from collections.abc import Callable

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import Setup, configs, standin_image

UNITS = "/etc/containers/systemd/users/503/llmhop"


def test_nothing_is_written_below_etc_where_the_units_lie_elsewhere(
    new_machine: Callable[[str], Machine], cache: Cache
) -> None:
    host = new_machine("read-only-etc")
    host.start()
    texts = configs("switch", "switch-changed", "switch-off")
    Setup("switch", texts, standin_image(cache), applied=False).prepare(wheels(cache))(host)
    # As module/host.nix declares it.
    host.succeed("mkdir -p /var/lib/llmhop/quadlet", f"rm -r {UNITS}")
    host.succeed(f"ln -s /var/lib/llmhop/quadlet {UNITS}")
    host.succeed("useradd alice")
    host.succeed("mount --bind /etc /etc", "mount -o remount,bind,ro /etc")
    host.fail("touch /etc/new", "touch /etc/containers/systemd/users/new")

    with host.log.subtest("models come up"):
        host.succeed("switch-to switch")
        host.wait_for_unit("vllm-b.service", user="vllm")
        assert host.succeed(f"ls {UNITS}/").split() == ["vllm-a.container", "vllm-b.container"]

    with host.log.subtest("no other user's manager has the models, root's neither"):
        for user, count in (("vllm", 2), ("alice", 0), ("root", 0)):
            generator = "/usr/lib/systemd/user-generators/podman-user-generator -user -dryrun"
            found = host.succeed(f"runuser -u {user} -- {generator} 2>&1 || true")
            assert found.count("---vllm-") == count, found

    with host.log.subtest("a change takes effect"):
        host.succeed("switch-to switch-changed")
        assert "--seed=1" in host.succeed("curl -fsS http://127.0.0.1:18002/report")
        host.succeed("llmhop-generator diff /etc/llmhop/switch-changed.json")
        assert host.succeed(f"readlink {UNITS}") == "/var/lib/llmhop/quadlet\n"

    with host.log.subtest("and so does their end"):
        host.succeed("switch-to switch-off")
        assert host.succeed(f"ls {UNITS}/") == ""
