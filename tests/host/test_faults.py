"""Faults while a change is applied: nothing is half-written, nothing stops for nothing.

One host goes from fault to fault; what it serves must be the same after each of them.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import Setup, standin_image, write
from tests.images.load import as_user, tag_image

CONFIG = "/etc/llmhop/config.json"
UNITS = "/etc/containers/systemd/users/503"


def config(*, image: str = "localhost/standin", **a: Any) -> str:
    models = {"a": {"model": "m/a", "port": 18001, **a}, "b": {"model": "m/b", "port": 18002}}
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "image": image, "tag": "v0.12.0"}
    return json.dumps({"version": 1, "vllm": {**vllm, "models": models}})


@pytest.fixture
def host(new_machine: Callable[[str], Machine], cache: Cache) -> Machine:
    machine = new_machine("faults")
    machine.start()
    setup = Setup("config", {"config": config()}, standin_image(cache), applied=False)
    setup.prepare(wheels(cache))(machine)
    # A small file system for the units, which can be filled and made read-only.
    machine.succeed(
        "cp -a /etc/containers /root/containers",
        "mount -t tmpfs -o size=1M,mode=755 small /etc/containers",
        "cp -a /root/containers/. /etc/containers/",
        f"llmhop-generator apply {CONFIG}",
    )
    return machine


def served(machine: Machine) -> tuple[str, ...]:
    """All that an apply may change: containers, units and routes."""
    return (
        machine.succeed(as_user("vllm", "podman", "ps", "--format", "{{.Names}} {{.ID}}")),
        machine.succeed(f"cd {UNITS} && sha256sum *.container"),
        machine.succeed("find /etc/containers | sort"),
        machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models | grep -o '\"id\"[^,]*'"),
    )


def refused(machine: Machine, text: str, environment: str = "") -> str:
    """Apply a configuration that can't be, now; give the error. Nothing has changed."""
    before = served(machine)
    write(machine, CONFIG, text)
    code, output = machine.execute(f"{environment} llmhop-generator apply {CONFIG} 2>&1")
    assert code == 1, output
    assert "error: " in output, output
    assert "Traceback" not in output, output
    assert served(machine) == before
    return output


def applied(machine: Machine, text: str) -> str:
    write(machine, CONFIG, text)
    return machine.succeed(f"llmhop-generator apply {CONFIG} 2>&1")


def test_faults_change_nothing_and_the_next_run_goes_on(host: Machine) -> None:
    what_is_refused(host)
    a_manager_that_is_down(host)
    two_runs_at_once(host)
    without_waiting(host)


def what_is_refused(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    with host.log.subtest("a full disk"):
        host.execute("dd if=/dev/zero of=/etc/containers/filler bs=1k 2>/dev/null")
        assert "No space left on device" in refused(host, changed)
        host.succeed("rm /etc/containers/filler")
    with host.log.subtest("a read-only file system"):
        host.succeed("mount -o remount,ro /etc/containers")
        assert "Read-only file system" in refused(host, changed)
        host.succeed("mount -o remount,rw /etc/containers")
    with host.log.subtest("Podman's generator makes no service of a unit"):
        output = refused(host, changed, "LLMHOP_QUADLET=/bin/false")
        assert "makes no service of" in output
    with host.log.subtest("an image that no registry gives"):
        output = refused(host, config(image="registry.invalid/none"))
        assert "registry.invalid/none:v0.12.0 can't be pulled" in output
        assert "nothing was changed" in output
    with host.log.subtest("a flag that the image's own parser refuses"):
        output = refused(host, config(settings={"seed": 1, "max-model-length": 128}))
        where = "vllm.models.a.settings.max-model-length"
        near = "has no such flag; the nearest is max-model-len"
        assert f"{where}: vLLM in localhost/standin:v0.12.0 {near}\n" in output, output
    with host.log.subtest("the user's manager can't be reached"):
        private, bus = "/run/user/503/systemd/private", "/run/user/503/bus"
        host.succeed(f"mv {private} {private}.away", f"mv {bus} {bus}.away")
        assert "Failed to connect to user scope bus" in refused(host, changed)
        host.succeed(f"mv {private}.away {private}", f"mv {bus}.away {bus}")
    with host.log.subtest("llmhop does not take its configuration"):
        bad = json.loads(changed) | {"llmhop": {"settings": {"maxBodyByte": 1}}}
        assert "maxBodyByte" in refused(host, json.dumps(bad))
    with host.log.subtest("without a fault the same change is applied"):
        assert "a: healthy" in applied(host, changed)
        assert host.succeed(f"llmhop-generator diff {CONFIG}") == "no change\n"
    with host.log.subtest("the image that is here serves on where its registry is down"):
        tag_image(host, "localhost/standin:v0.12.0", "registry.invalid/here:v0.12.0", "vllm")
        output = applied(host, config(image="registry.invalid/here"))
        assert "warning: registry.invalid/here:v0.12.0 can't be pulled" in output
        assert "b: healthy" in output


def a_manager_that_is_down(host: Machine) -> None:
    with host.log.subtest("a manager that can't be started"):
        host.succeed("systemctl stop user@503.service", "systemctl mask --runtime user@503.service")
        write(host, CONFIG, config())
        code, output = host.execute(f"llmhop-generator apply {CONFIG} 2>&1")
        assert (code, "masked" in output) == (1, True), output
        status = json.loads(host.succeed("llmhop-generator status --json"))
        assert {model["last_error"] for model in status["models"]} == {"its manager is down"}
        host.succeed("systemctl unmask --runtime user@503.service")
    with host.log.subtest("one that is down is started"):
        output = host.succeed(f"llmhop-generator apply {CONFIG} 2>&1")
        assert "start user@503.service: the user's manager is down" in output
        assert "b: healthy" in output
        assert host.succeed(f"llmhop-generator apply {CONFIG}") == "nothing to do\n"
        # The first podman after that, as root's environment called it, made the namespace.
        ids = host.succeed(as_user("vllm", "podman", "unshare", "cat", "/proc/self/uid_map"))
        assert ids.split() == ["0", "503", "1", "1", "300000", "65536"]


def two_runs_at_once(host: Machine) -> None:
    with host.log.subtest("of two runs at once one waits and says for which"):
        write(host, "/root/slow.json", config(environment={"STANDIN_START_DELAY": "6"}))
        host.succeed("systemd-run --unit first llmhop-generator apply /root/slow.json")
        host.wait_until_succeeds(f"grep -q START_DELAY {UNITS}/vllm-a.container", timeout=30)
        pid = host.get_unit_property("first.service", "MainPID")
        code, output = host.execute(f"llmhop-generator apply --lock-timeout 0 {CONFIG} 2>&1")
        assert code == 1, output
        assert f"another run is at work (pid {pid}), and nothing was changed" in output
        output = host.succeed(f"llmhop-generator apply {CONFIG} 2>&1")
        assert output.startswith(f"waiting for another run (pid {pid})"), output
        assert "a: healthy" in output
        host.fail(f"grep -q START_DELAY {UNITS}/vllm-a.container")


def without_waiting(host: Machine) -> None:
    with host.log.subtest("without waiting every route is given at once"):
        write(host, CONFIG, config(environment={"STANDIN_START_DELAY": "600"}))
        host.succeed(f"llmhop-generator apply --no-wait {CONFIG}", timeout=120)
        assert '"a"' in served(host)[3]
        status = json.loads(host.succeed("llmhop-generator status --json"))
        assert [model["state"] for model in status["models"]] == ["starting", "healthy"], status
