"""The test host itself: it boots, behaves as NixOS's driver does, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.host.boot import REPOSITORY
from tests.host.cache import Cache
from tests.host.driver import Driver
from tests.host.errors import RequestedAssertionFailed
from tests.host.log import Log
from tests.host.machine import Machine
from tests.host.units import retry
from tests.images.load import as_user, load_image, tag_image
from tests.images.standin.image import NEW_ENTRYPOINT, OLD_ENTRYPOINT, standin_tar

# Ids of a service user as someone would choose them by hand.
UID = 777
SUB_START = 400000

QUADLET = """
[Container]
Image=localhost/standin:{tag}
Entrypoint=vllm
Exec=serve some/model --served-model-name small --port 8000
PublishPort=127.0.0.1:18001:8000
Notify=healthy
HealthCmd=python3 -c 'import urllib.request as u; u.urlopen("http://127.0.0.1:8000/health")'
HealthInterval=2s
NoNewPrivileges=true
DropCapability=all
ShmSize=64m

[Service]
Restart=always

[Install]
WantedBy=default.target
"""


def traces(name: str, scratch: Path) -> dict[str, list[str]]:
    """What the host `name` has on this machine now."""
    processes = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue  # not a process, or one that has just ended
        if f"{scratch}/{name}-" in line:
            processes.append(line.replace("\0", " "))
    places = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
    return {
        "processes": processes,
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if name in line],
        "cgroups": [str(path) for place in places for path in place.glob(f"llmhop-test-{name}-*")],
        "directories": [str(path) for path in scratch.glob(f"{name}-*")],
    }


NOTHING: dict[str, list[str]] = {"processes": [], "mounts": [], "cgroups": [], "directories": []}


@pytest.fixture(scope="module")
def shared(root: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A running host for tests that leave nothing which another would find."""
    out = tmp_path_factory.mktemp("shared")
    machine = Machine("shared", root, cache.directory / "hosts", out_dir=out)
    try:
        machine.start()
        yield machine
    finally:
        machine.release()


@pytest.fixture
def name() -> str:
    """A machine name that no other test run uses."""
    return f"m{uuid.uuid4().hex[:10]}"


def test_a_host_boots_without_a_failed_unit(machine: Machine) -> None:
    assert machine.succeed("systemctl is-system-running --wait") == "running\n"
    assert machine.get_unit_property("multi-user.target", "ActiveState") == "active"


def test_a_host_is_a_plain_debian_that_knows_nothing_of_the_product(shared: Machine) -> None:
    shared.fail("getent passwd vllm", "getent passwd llmhop")
    shared.fail("ls /etc/containers/systemd/users/*", "ls /var/lib/systemd/linger/*")
    assert 'VERSION_ID="13"' in shared.succeed("cat /etc/os-release")


def test_commands_run_strictly_and_return_code_and_output(shared: Machine) -> None:
    assert shared.execute("echo out; echo err >&2; exit 3") == (3, "out\n")
    assert shared.execute("false | cat; echo reached")[1] == ""
    assert shared.execute("echo ${unset_variable}")[0] != 0
    assert shared.execute("sleep 60", timeout=1) == (124, "")
    assert shared.execute("exit 3", check_return=False) == (-1, "")
    assert shared.execute("touch /run/later", check_output=False) == (-2, "")
    shared.wait_for_file("/run/later")


def test_commands_see_a_clean_root_login(shared: Machine) -> None:
    environment = shared.succeed("env; pwd; id -un; ulimit -Sn").splitlines()
    assert {"HOME=/root", "USER=root", "LANG=C.UTF-8"} < set(environment)
    assert environment[-3:] == ["/root", "root", "1024"]
    assert not any(name in line for line in environment for name in ("PYTEST", "XDG_", "SSL_"))
    # As a process of the host: its manager knows the cgroup.
    assert shared.succeed("cat /proc/self/cgroup").splitlines()[-1] == "0::/driver"


def test_succeed_and_fail_raise_on_the_other_outcome(shared: Machine) -> None:
    assert shared.succeed("echo a", "echo b") == "a\nb\n"
    assert shared.fail("echo no; false") == "no\n"
    with pytest.raises(RequestedAssertionFailed, match=r"failed \(exit code 4\)\nwhy"):
        shared.succeed("echo why >&2; exit 4")
    with pytest.raises(RequestedAssertionFailed, match="unexpectedly succeeded"):
        shared.fail("true")


def test_waiting_for_a_unit_ends_with_its_state(shared: Machine) -> None:
    shared.succeed("systemd-run --unit=good --property=Type=exec sleep infinity")
    shared.wait_for_unit("good.service")
    shared.require_unit_state("good.service")
    shared.execute("systemd-run --unit=bad --property=Type=oneshot false")
    with pytest.raises(RequestedAssertionFailed, match="reached state 'failed'"):
        shared.wait_for_unit("bad.service")
    with pytest.raises(RequestedAssertionFailed, match="no pending jobs"):
        shared.wait_for_unit("nothing-like-it.service")
    assert shared.stop_job("good.service")[0] == 0
    assert shared.get_unit_info("good.service")["ActiveState"] == "inactive"


def test_ports_and_sockets_are_waited_for(shared: Machine) -> None:
    shared.wait_for_closed_port(8000)
    serve = "python3 -m http.server --bind 127.0.0.1 8000"
    shared.succeed(f"systemd-run --unit=web {serve}", "systemd-run --unit=unix nc -lkU /run/u")
    shared.wait_for_open_port(8000)
    shared.wait_for_open_unix_socket("/run/u")
    shared.succeed("systemctl stop web")
    shared.wait_for_closed_port(8000)
    assert "up" in shared.wait_until_succeeds("echo up")
    shared.wait_until_fails("nc -z localhost 8000")


def test_files_are_copied_both_ways(machine: Machine, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "text").write_text("text with a \0 byte")
    machine.copy_from_host(str(source), "/srv/deep/copy")
    machine.copy_from_host(str(source / "text"), "/srv/alone")
    assert machine.succeed("cmp /srv/alone /srv/deep/copy/text; stat -c %U /srv/alone") == "root\n"
    machine.copy_from_vm("/srv/deep/copy", "out")
    assert (tmp_path / "out/copy/text").read_bytes() == (source / "text").read_bytes()


def test_files_survive_a_reboot_a_crash_and_a_power_off(machine: Machine) -> None:
    machine.succeed("echo kept | tee /etc/kept /var/kept /home/kept; sync", "touch /run/gone")
    ends: list[Callable[[], None]] = [machine.reboot, machine.crash, machine.shutdown]
    boots = {machine.succeed("journalctl --list-boots --no-pager")}
    for end in ends:
        end()
        machine.start()
        assert machine.succeed("cat /etc/kept /var/kept /home/kept") == "kept\n" * 3
        machine.fail("test -e /run/gone")
        boots.add(machine.succeed("journalctl --list-boots --no-pager"))
    assert len(boots) == 4


def test_two_hosts_run_at_once_and_share_nothing(new_machine: Callable[[str], Machine]) -> None:
    first, second = new_machine("first"), new_machine("second")
    first.start()
    second.start()
    assert [m.succeed("hostname") for m in (first, second)] == ["first\n", "second\n"]
    first.succeed("touch /etc/mine", "systemd-run nc -lk 127.0.0.1 7000")
    first.wait_for_open_port(7000)
    second.fail("test -e /etc/mine", "nc -z 127.0.0.1 7000")


def test_a_scenario_prints_one_line_for_each_subtest(
    root: Path, scratch: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "scenario.py"
    script.write_text(
        "start_all()\n"
        'with subtest("the host answers"):\n'
        '    assert node.succeed("echo hi") == "hi\\n"\n'
        'with subtest("a wrong command"):\n'
        '    machine.succeed("false")\n'
    )
    failure = pytest.raises(RequestedAssertionFailed, match="node: command `false` failed")
    with Driver(["node"], root, scratch, log=Log()) as driver, failure:
        driver.run(script)
    lines = [line.rpartition(" (")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["subtest: the host answers: ok", "subtest: a wrong command: FAILED"]


@pytest.mark.parametrize("place", ["memory", "disk"])
def test_nothing_is_left_when_a_host_ends(
    place: str,
    new_machine: Callable[[str], Machine],
    scratch: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if place == "disk":
        monkeypatch.setenv("LLMHOP_TEST_ON_DISK", "1")
    machine = new_machine(name)
    machine.start()
    machine.execute("sleep 1000", check_output=False)
    machine.succeed("useradd --create-home someone", "loginctl enable-linger someone")
    seen = traces(name, scratch)
    assert seen["mounts"] == [], "the host's mounts belong in its own namespace only"
    assert seen["processes"] and seen["cgroups"] and seen["directories"]
    machine.release()
    assert traces(name, scratch) == NOTHING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_test_run_is_ended(
    number: signal.Signals, root: Path, scratch: Path, name: str
) -> None:
    program = (
        "import signal, sys, time\n"
        # Which a shell ignores for what it runs in the background.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from pathlib import Path\n"
        "from tests.host.machine import Machine\n"
        "machine = Machine(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))\n"
        "machine.start()\n"
        "print('up', flush=True)\n"
        "time.sleep(1000)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, name, str(root), str(scratch)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        assert all(traces(name, scratch)[kind] for kind in ("processes", "cgroups"))
        process.send_signal(number)
        process.wait()
    retry(lambda _: traces(name, scratch) == NOTHING, 60, interval=0.1)


def test_a_rootless_container_becomes_healthy_under_a_quadlet_unit(
    machine: Machine, cache: Cache
) -> None:
    machine.succeed(
        f"groupadd --gid {UID} engine",
        f"useradd --system --uid {UID} --gid {UID} --home /var/lib/engine -m engine",
        f"echo engine:{SUB_START}:65536 | tee /etc/subuid > /etc/subgid",
        "loginctl enable-linger engine",
        "systemctl start network-online.target",
    )
    machine.wait_for_unit(f"user@{UID}.service")
    archive = standin_tar(cache)
    # One unit text for images of both kinds of entrypoint.
    load_image(machine, archive, "localhost/standin:v0.11", "engine", OLD_ENTRYPOINT)
    load_image(machine, archive, "localhost/standin:v0.12", "engine", NEW_ENTRYPOINT)
    tag_image(machine, "localhost/standin:v0.12", "localhost/standin:other", "engine")
    machine.succeed(as_user("engine", "podman", "image", "exists", "localhost/standin:other"))
    native = as_user("engine", "podman", "info", "--format={{.Store.GraphStatus}}")
    assert "Native Overlay Diff:true" in machine.succeed(native)
    for tag in ("v0.11", "v0.12"):
        unit = f"/etc/containers/systemd/users/{UID}/vllm-small.container"
        text = QUADLET.format(tag=tag)
        machine.succeed(f"mkdir -p $(dirname {unit}); cat > {unit} <<'END'\n{text}\nEND\n")
        assert machine.systemctl("daemon-reload", "engine")[0] == 0
        machine.succeed("systemctl --user -M engine@.host start vllm-small.service")
        machine.wait_for_unit("vllm-small.service", "engine")
        report = json.loads(machine.succeed("curl -sf http://127.0.0.1:18001/report"))
        assert report["argv"][1:] == [
            *("serve", "some/model", "--served-model-name", "small", "--port", "8000")
        ]
        assert report["uid_map"] == [[0, UID, 1], [1, SUB_START, 65536]]
        assert report["status"]["CapEff"] == "0000000000000000"
        assert report["status"]["NoNewPrivs"] == "1"
        assert report["shm_bytes"] == 64 * 1024 * 1024
        assert machine.stop_job("vllm-small.service", "engine")[0] == 0
