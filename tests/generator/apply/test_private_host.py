"""Commands with their real effects, on a host of the test's own and without root of this one."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.apply.provision import own_command
from llmhop_generator.cli.exits import EXIT_CHANGES
from llmhop_generator.render.host_tree import host_files

from tests.generator.support.contracts import parse
from tests.generator.support.private_host import PrivateHost, why_not
from tests.generator.support.terminal import run_on_terminal

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

TMPFILES = "systemd-tmpfiles --create /etc/tmpfiles.d/llmhop.conf"
NOT_READY = "error: the host is not ready, and nothing was changed"


def models(**changes: Any) -> dict[str, Any]:
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "tag": "v1",
        "models": {"a": {"model": "org/a", "port": 18001}},
    }
    return {"version": 1, "vllm": vllm | changes}


def router(**settings: Any) -> dict[str, Any]:
    """A configuration without models of this host."""
    far = {"models": {"far": {"url": "http://127.0.0.1:9"}}}
    return {"version": 1, "llmhop": {"enable": True, "settings": far | settings}}


@pytest.fixture
def host(tmp_path: Path) -> PrivateHost:
    return PrivateHost(tmp_path)


@pytest.fixture
def served(host: PrivateHost) -> PrivateHost:
    """A host with llmhop's user, whose group is one that a plain user may give files to."""
    host.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nllmhop:x:0:0::/:/bin/false\n")
    host.put("etc/group", "root:x:0:\nllmhop:x:0:\n")
    done = host.run("provision", config=router())
    assert done.returncode == 0, done.stderr
    return host


def findings(done: "subprocess.CompletedProcess[str]", first: str = NOT_READY) -> list[str]:
    assert done.returncode == 1, (done.stdout, done.stderr)
    told, *found = done.stderr.splitlines()
    assert told == first, done.stderr
    return [line.strip() for line in found]


def away_with_directories(host: PrivateHost) -> None:
    for path in ("var/cache/vllm", "var/lib/vllm"):
        (host.root / path).rmdir()


def test_provision_takes_the_steps_that_it_shows_and_then_has_none(host: PrivateHost) -> None:
    before = host.files()
    shown = host.run("provision", "--dry-run", config=models())
    assert shown.returncode == 0, shown.stderr
    assert host.files() == before
    taken = host.run("provision", config=models())
    assert taken.returncode == 0, taken.stderr
    assert taken.stdout == shown.stdout
    for path, text in host_files(parse(models()), str(host.llmhop), own_command()).items():
        assert host.read(f"etc/{path}") == text
    assert "vllm:x:503:503:" in host.read("etc/passwd")
    assert "vllm:300000:65536\n" in host.read("etc/subuid")
    assert host.told == [
        "systemctl daemon-reload ",
        "systemctl enable llmhop-models.target",
        "systemctl start user@503.service",
        "systemctl enable llmhop.service llmhop.socket llmhop-routes.service",
    ]
    # A plain user can give the directories to nobody else, so that they are root's here.
    away_with_directories(host)
    assert host.run("provision", config=models()).stdout.splitlines() == [TMPFILES]


def test_provision_of_what_is_there_has_nothing_to_do(served: PrivateHost) -> None:
    assert served.run("provision", config=router()).stdout == "nothing to do\n"


def test_provision_mends_what_is_missing(host: PrivateHost) -> None:
    host.run("provision", config=models())
    host.put("etc/subgid", "")
    (host.root / "var/lib/systemd/linger/vllm").unlink()
    away_with_directories(host)
    (host.root / "run/on/llmhop.socket").unlink()
    assert host.run("provision", config=models()).stdout.splitlines() == [
        TMPFILES,
        "usermod --add-subgids 300000-365535 vllm",
        "loginctl enable-linger vllm",
        "systemctl enable llmhop.socket",
    ]


def test_a_socket_goes_where_systemd_can_not_open_it_and_is_restarted_where_it_moves(
    served: PrivateHost,
) -> None:
    assert served.run("apply", config=router()).returncode == 0
    assert served.told[-1] == "systemctl restart llmhop.socket llmhop.service"
    moved = router(listen=":9000")
    assert served.run("provision", config=moved).returncode == 0
    # By the configuration that llmhop has, those addresses would be open without their tokens.
    assert "systemctl restart llmhop.socket llmhop.service" not in served.told
    assert served.run("apply", config=moved).returncode == 0
    unit = served.root / "etc/systemd/system/llmhop.socket"
    unit.write_text("# of another time\n")
    assert served.run("provision", config=moved).stdout.splitlines()[-1] == (
        "systemctl restart llmhop.socket llmhop.service"
    )
    steps = served.run("provision", config=router(listen="localhost:9000")).stdout.splitlines()
    assert steps[:2] == [
        "systemctl disable --now llmhop.socket",
        "remove /etc/systemd/system/llmhop.socket",
    ]
    assert not unit.exists()


def refused(host: PrivateHost, config: Any) -> list[str]:
    before = host.files()
    done = host.run("provision", config=config)
    assert host.files() == before
    return findings(done, "error: this host can't be set up so, and nothing was changed")


def test_provision_takes_nothing_from_others(host: PrivateHost) -> None:
    host.put("srv/models/theirs", "")
    host.put("etc/subuid", "alice:100000:65536\n")
    config = models(uid=1, gid=4, cacheDir="/srv/models", subUidStart=120000)
    found = refused(host, config)
    assert [line.partition(": ")[0] for line in found] == [
        *("vllm.cacheDir", "vllm.group", "vllm.subUidStart", "vllm.uid"),
    ]
    assert "/srv/models is there and belongs to root" in found[0]
    assert "is vllm, but group 4 is adm here" in found[1]
    assert "the range 120000 to 185535 overlaps 100000 to 165535 of alice" in found[2]
    assert "1 is daemon's on this host" in found[3]


def test_provision_takes_an_empty_directory_such_as_where_a_disk_is_mounted(
    host: PrivateHost,
) -> None:
    (host.root / "srv/models/lost+found").mkdir(parents=True)
    done = host.run("provision", "--dry-run", config=models(cacheDir="/srv/models"))
    assert done.returncode == 0, done.stderr


def test_provision_leaves_a_user_of_the_deployers_to_the_deployer(host: PrivateHost) -> None:
    (found,) = refused(host, models(user="serving"))
    assert found.startswith("vllm.user: serving does not exist; only vllm is made here"), found


def test_provision_refuses_a_router_that_its_service_could_not_run(host: PrivateHost) -> None:
    host.llmhop = host.root / "opt/nowhere"
    done = host.run("provision", config=models())
    assert done.returncode == 1
    assert "opt/nowhere' is not found; give its path with --llmhop" in done.stderr
    host.llmhop = host.root / "opt/link"
    host.llmhop.symlink_to("/root/llmhop")
    assert host.run("provision", config=models()).returncode == 1


def test_provision_leaves_nixos_to_its_module(host: PrivateHost) -> None:
    host.put("etc/NIXOS", "")
    done = host.run("provision", config=models())
    assert done.returncode == 1
    assert done.stderr == "error: this is NixOS: import the module, which declares all of this\n"


MANAGERS = "needs the system's managers"
KEY = (
    "reads environment files, and the key in /var/lib/llmhop/environment.key by which units tell "
    "that one changed"
)


@pytest.mark.parametrize(
    ("command", "why"),
    [("provision", MANAGERS), ("check", MANAGERS), ("diff", KEY), ("apply", MANAGERS)],
)
def test_what_acts_on_a_host_needs_root_and_says_for_what(
    command: str, why: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(router()))
    # Of a namespace in which it has no number, a process is nobody, whoever starts it.
    done = subprocess.run(
        ["unshare", "--user", sys.executable, "-m", "llmhop_generator", command, str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith(f"error: {command} {why}; run it as root\n"), done.stderr


@pytest.mark.parametrize("command", ["check", "diff", "apply"])
def test_a_host_that_has_nothing_is_told_all_that_it_lacks(command: str, host: PrivateHost) -> None:
    before = host.files()
    config = models(
        environmentFile="/etc/nowhere.env",
        devices=["/dev/nowhere"],
        containerConfig={"Volume": "/srv/nowhere:/models"},
    )
    found = findings(host.run(command, config=config))
    assert host.files() == before
    told = "\n".join(found)
    for where, what in (
        ("vllm.user", "vllm does not exist on this host"),
        ("vllm.cacheDir", "/var/cache/vllm is not a directory"),
        ("vllm.dataDir", "/var/lib/vllm is not a directory"),
        ("vllm.environmentFile", "/etc/nowhere.env does not exist"),
        ("vllm.devices[0]", "/dev/nowhere does not exist"),
        ("vllm.containerConfig.Volume", "/srv/nowhere does not exist"),
        ("llmhop.enable", "the group llmhop does not exist"),
        ("llmhop.enable", "llmhop.service is not on this host"),
    ):
        assert f"{where}: {what}" in told, told


def test_environment_files_are_read_before_anything_stops(host: PrivateHost) -> None:
    host.put("etc/bom.env", "\ufeffA=hidden\n=hidden\n")
    (host.root / "etc/dir.env").mkdir()
    own = {"model": "org/b", "port": 18002, "environmentFile": "/etc/dir.env"}
    config = models(environmentFile="/etc/bom.env")
    config["vllm"]["models"]["b"] = own
    found = findings(host.run("check", config=config))
    told = [line for line in found if "environmentFile" in line]
    assert told == [
        "vllm.environmentFile: /etc/bom.env begins with a byte order mark, which would be part of "
        "the first name; save it as UTF-8 without one",
        "vllm.environmentFile: /etc/bom.env has no name before = in line 2; write NAME=value",
        "vllm.models.b.environmentFile: /etc/dir.env is not a file; put one there, or unset it",
    ]


def test_a_host_with_what_llmhop_needs_is_ready(served: PrivateHost) -> None:
    done = served.run("check", config=router())
    assert (done.returncode, done.stdout) == (0, "this host is ready\n"), done.stderr


def test_a_port_that_another_process_has_is_told_with_who_has_it(served: PrivateHost) -> None:
    up = "ip link set lo up"
    serve = f"{sys.executable} -m http.server --bind 127.0.0.1 8080 >/dev/null 2>&1 & server=$!"
    wait = "until (exec 3<>/dev/tcp/127.0.0.1/8080) 2>/dev/null; do sleep 0.1; done"
    before = f"{up}; {serve}; bash -c '{wait}'; trap 'kill $server' EXIT"
    done = served.run("check", config=router(), before=f'{before}; "$0" "$@"; exit')
    (found,) = findings(done)
    assert found.startswith("llmhop.settings.port: 127.0.0.1:8080 is taken by python"), found


def test_a_file_where_a_socket_is_to_be_is_told(served: PrivateHost) -> None:
    served.put("srv/llmhop.sock", "")
    config = router(listen="unix:/srv/llmhop.sock")
    served.run("provision", config=config)
    (found,) = findings(served.run("check", config=config))
    assert found.startswith("llmhop.settings.listen: /srv/llmhop.sock is there and is no socket")


def test_a_secret_that_the_service_would_not_have_is_told(served: PrivateHost) -> None:
    config = router(authTokens=["${file:/srv/nowhere}"])
    (found,) = findings(served.run("check", config=config))
    assert found.startswith("llmhop.settings.authTokens[0]: "), found
    assert "/srv/nowhere" in found


def test_apply_gives_llmhop_its_configuration_and_then_has_nothing_to_do(
    served: PrivateHost,
) -> None:
    steps = served.run("diff", config=router())
    assert steps.returncode == 4, steps.stderr
    shown = json.loads(served.run("diff", "--json", config=router()).stdout)
    assert shown["steps"], shown
    done = served.run("apply", config=router())
    assert done.returncode == 0, done.stderr
    assert json.loads(served.read("var/lib/llmhop/llmhop.json"))["models"] == {
        "far": {"url": "http://127.0.0.1:9"}
    }
    assert served.run("diff", config=router()).returncode == 0
    assert served.run("apply", config=router()).stdout == "nothing to do\n"


def test_apply_looks_again_where_the_host_was_provisioned_for_another_configuration(
    served: PrivateHost,
) -> None:
    assert served.run("apply", config=router()).returncode == 0
    assert served.run("apply", config=router()).stdout == "nothing to do\n"
    assert served.run("provision", config=router(listen=":9000")).returncode == 0
    (found,) = findings(served.run("apply", config=router()))
    assert "llmhop.socket is not the one of this configuration" in found
    assert served.run("provision", config=router()).returncode == 0
    assert served.run("apply", config=router()).stdout == "nothing to do\n"


def test_what_llmhop_refuses_to_start_with_leaves_the_configuration_that_it_has(
    served: PrivateHost,
) -> None:
    assert served.run("apply", config=router()).returncode == 0
    kept = served.read("var/lib/llmhop/llmhop.json")
    served.put("run/refuses", "")
    done = served.run("apply", config=router(workers=2))
    assert done.returncode == 1
    assert "llmhop does not take its new configuration" in done.stderr
    assert served.read("var/lib/llmhop/llmhop.json") == kept


def test_what_is_no_longer_wanted_is_stopped(served: PrivateHost) -> None:
    assert served.run("apply", config=router()).returncode == 0
    done = served.run("apply", config={"version": 1})
    assert done.returncode == 0, done.stderr
    assert "systemctl stop llmhop.socket llmhop.service" in served.told
    assert not (served.root / "var/lib/llmhop/llmhop.json").exists()


def test_at_boot_files_are_put_in_place_and_nothing_is_waited_for(served: PrivateHost) -> None:
    done = served.run("apply", "--files-only", config=router())
    assert done.returncode == 0, done.stderr
    assert served.told[-1] == "systemctl try-reload-or-restart llmhop.service"
    assert (served.root / "var/lib/llmhop/llmhop.json").exists()


def test_two_runs_take_turns(served: PrivateHost) -> None:
    """The second says whose end it waits for, and for how long."""
    hold = "exec 9>/run/llmhop-generator.lock; flock 9"
    done = served.run("apply", "--lock-timeout", "0", config=router(), before=hold)
    assert done.returncode == 1
    assert "another run is at work" in done.stderr


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_status_tells_of_llmhop_where_there_are_no_models(
    form: tuple[str, ...], served: PrivateHost
) -> None:
    assert served.run("apply", config=router()).returncode == 0
    done = served.run("status", *form)
    assert done.returncode == 0, done.stderr
    assert "active" in done.stdout
    if form:
        assert json.loads(done.stdout)["models"] == []


def test_while_a_run_is_at_work_diff_says_so(served: PrivateHost) -> None:
    lock = served.put("run/llmhop-generator.lock", f"{os.getpid()}\n")
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = served.run("diff", config=router())
    assert done.returncode == EXIT_CHANGES, done.stderr
    assert done.stderr.startswith(f"An apply is under way (pid {os.getpid()}): ")
    assert served.run("diff", config=router()).stderr == ""


def test_a_terminal_shows_the_steps_of_diff_in_colours(served: PrivateHost) -> None:
    assert served.run("apply", config=router()).returncode == 0
    off = json.dumps({"version": 1, "llmhop": {"enable": False}})
    served.put("srv/off.json", off)
    command = served.command("diff", "/srv/off.json", "--llmhop", served.llmhop)
    shown = run_on_terminal(command, env=served.environment, code=4)
    assert shown.startswith("\033[31mstop\033[0m  llmhop  it is not enabled"), shown
    plain = served.run("diff", config=json.loads(off)).stdout
    assert plain == "stop  llmhop  it is not enabled\n"


def test_logs_are_the_journal_of_a_model_of_this_host(host: PrivateHost) -> None:
    rendered = host.run("render", "-o", host.root / "srv/out", config=models())
    assert rendered.returncode == 0, rendered.stderr
    unit = host.read("srv/out/quadlet/vllm-a.container")
    host.put("etc/containers/systemd/users/503/llmhop/vllm-a.container", unit)
    done = host.run("logs", "a", "--no-follow", "-n", "7")
    assert done.stdout.startswith("the journal of: -n 7 -o short-iso"), done.stderr
    assert done.stdout.endswith("_SYSTEMD_USER_UNIT=vllm-a.service\n")
    done = host.run("logs", "aa")
    assert done.returncode == 1
    assert done.stderr == "error: 'aa' is no model of this host; did you mean a?\n"
