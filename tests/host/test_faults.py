"""Faults while a change is applied: nothing is half-written, nothing stops for nothing.

What a host serves must be the same after each of them.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import FOUND_HEALTHY_SOON, Setup, standin_image, write
from tests.host.shared_machine import Share, SharedMachine
from tests.images.load import as_user, tag_image

CONFIG = "/etc/llmhop/config.json"
UNITS = "/etc/containers/systemd/users/503/llmhop"


def config(*, image: str = "localhost/standin", **a: Any) -> str:
    models = {"a": {"model": "m/a", "port": 18001, **a}, "b": {"model": "m/b", "port": 18002}}
    vllm = {"enable": True, "uid": 503, "subUidStart": 300000, "image": image, "tag": "v0.12.0"}
    return json.dumps({"version": 1, "vllm": {**vllm, **FOUND_HEALTHY_SOON, "models": models}})


@pytest.fixture(scope="module")
def shared(share: Share, cache: Cache) -> SharedMachine:
    setup = Setup("config", {"config": config()}, standin_image(cache), applied=False)

    def prepare(machine: Machine) -> None:
        setup.prepare(wheels(cache))(machine)
        # A small file system for the units, which can be filled and made read-only.
        machine.succeed(
            "cp -a /etc/containers /root/containers",
            "mount -t tmpfs -o size=1M,mode=755 small /etc/containers",
            "cp -a /root/containers/. /etc/containers/",
        )

    return share("faults", prepare)


@pytest.fixture
def host(shared: SharedMachine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host that serves the configuration above."""
    for machine in shared.lend(request.node):
        applied(machine, config())
        yield machine


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


def test_a_full_disk_changes_nothing(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    host.execute("dd if=/dev/zero of=/etc/containers/filler bs=1k 2>/dev/null")
    assert "No space left on device" in refused(host, changed)
    host.succeed("rm /etc/containers/filler")


def test_a_read_only_file_system_changes_nothing(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    host.succeed("mount -o remount,ro /etc/containers")
    assert "Read-only file system" in refused(host, changed)
    host.succeed("mount -o remount,rw /etc/containers")


def test_a_unit_that_podmans_generator_passes_over_changes_nothing(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    output = refused(host, changed, "LLMHOP_QUADLET=/bin/false")
    assert "makes no service of" in output


def test_an_image_that_no_registry_gives_changes_nothing(host: Machine) -> None:
    output = refused(host, config(image="registry.invalid/none"))
    assert "registry.invalid/none:v0.12.0 can't be pulled" in output
    assert "nothing was changed" in output


def test_a_flag_that_the_images_own_parser_refuses_changes_nothing(host: Machine) -> None:
    output = refused(host, config(settings={"seed": 1, "max-model-length": 128}))
    where = "vllm.models.a.settings.max-model-length"
    near = "has no such flag; the nearest is max-model-len"
    assert f"{where}: vLLM in localhost/standin:v0.12.0 {near}\n" in output, output


def test_a_manager_that_cant_be_reached_changes_nothing(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    private, bus = "/run/user/503/systemd/private", "/run/user/503/bus"
    host.succeed(f"mv {private} {private}.away", f"mv {bus} {bus}.away")
    assert "Failed to connect to user scope bus" in refused(host, changed)
    host.succeed(f"mv {private}.away {private}", f"mv {bus}.away {bus}")


def test_a_configuration_that_llmhop_refuses_changes_nothing(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    bad = json.loads(changed) | {"llmhop": {"settings": {"maxBodyByte": 1}}}
    assert "maxBodyByte" in refused(host, json.dumps(bad))


def routes(machine: Machine) -> str:
    listed = json.loads(machine.succeed("curl -fsS http://127.0.0.1:8080/v1/models"))
    return " ".join(sorted(model["id"] for model in listed["data"]))


@pytest.mark.parametrize("number", ["HUP", "QUIT", "TERM", "INT"])
def test_a_run_that_a_signal_ends_leaves_each_model_its_route(number: str, host: Machine) -> None:
    write(host, CONFIG, config(environment={"STANDIN_START_DELAY": "5"}))
    starting = "systemctl --user -M vllm@.host is-active vllm-a.service | grep -qx activating"
    # To the whole group and more than once, as timeout(1) and terminals do.
    code, output = host.execute(
        f"setsid -w llmhop-generator apply {CONFIG} 2>&1 & group=$(pgrep -P $!); "
        f"until {starting}; do sleep 0.1; done; "
        f"for _ in 1 2 3 4 5 6; do kill -{number} -- -$group; sleep 0.05; done; wait $!"
    )
    assert code != 0, output
    assert "Traceback" not in output
    assert "start vllm-a.service" in output
    assert routes(host) == "a b"


@pytest.mark.parametrize(
    "reader", ["| head -n 1", "| head -n 5", ">/dev/full", ">/dev/full 2>&1", ">&-", ">&- 2>&-"]
)
def test_a_run_that_nobody_reads_goes_on_to_its_end(reader: str, host: Machine) -> None:
    write(host, CONFIG, config(settings={"seed": 1}))
    errors = host.succeed(f"(llmhop-generator apply {CONFIG} {reader}; echo code $?) 2>&1")
    assert "Traceback" not in errors
    assert routes(host) == "a b"
    assert "--seed=1" in host.succeed("curl -fsS http://127.0.0.1:18001/report")
    assert host.succeed(f"llmhop-generator diff {CONFIG}") == "no change\n"


def test_without_a_fault_the_same_change_is_applied(host: Machine) -> None:
    changed = config(settings={"seed": 1})
    assert "a: healthy" in applied(host, changed)
    assert host.succeed(f"llmhop-generator diff {CONFIG}") == "no change\n"


def test_an_image_that_is_here_serves_on_where_its_registry_is_down(host: Machine) -> None:
    tag_image(host, "localhost/standin:v0.12.0", "registry.invalid/here:v0.12.0", "vllm")
    output = applied(host, config(image="registry.invalid/here"))
    assert "warning: registry.invalid/here:v0.12.0 can't be pulled" in output
    assert "b: healthy" in output


def test_a_manager_that_cant_be_started_is_told(host: Machine) -> None:
    host.succeed("systemctl stop user@503.service", "systemctl mask --runtime user@503.service")
    write(host, CONFIG, config())
    code, output = host.execute(f"llmhop-generator apply {CONFIG} 2>&1")
    assert (code, "masked" in output) == (1, True), output
    status = json.loads(host.succeed("llmhop-generator status --json"))
    assert {model["last_error"] for model in status["models"]} == {"its manager is down"}
    host.succeed("systemctl unmask --runtime user@503.service")


def test_a_manager_that_is_down_is_started(host: Machine) -> None:
    host.succeed("systemctl stop user@503.service")
    code, planned = host.execute(f"llmhop-generator diff {CONFIG}")
    why = "the user's manager is down; it starts a, b"
    assert (code, planned.split()) == (4, f"start user@503.service {why}".split())
    output = host.succeed(f"llmhop-generator apply {CONFIG} 2>&1")
    assert output.startswith(f"start user@503.service: {why}\n")
    assert "b: healthy" in output
    assert "nothing to do" not in output
    assert host.succeed(f"llmhop-generator apply {CONFIG}") == "nothing to do\n"
    # The first podman after that, as root's environment called it, made the namespace.
    ids = host.succeed(as_user("vllm", "podman", "unshare", "cat", "/proc/self/uid_map"))
    assert ids.split() == ["0", "503", "1", "1", "300000", "65536"]


def test_one_of_two_runs_at_once_waits_and_says_for_which(host: Machine) -> None:
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


def test_without_waiting_every_route_is_given_at_once(host: Machine) -> None:
    write(host, CONFIG, config(environment={"STANDIN_START_DELAY": "600"}))
    host.succeed(f"llmhop-generator apply --no-wait {CONFIG}", timeout=120)
    assert '"a"' in served(host)[3]
    status = json.loads(host.succeed("llmhop-generator status --json"))
    assert [model["state"] for model in status["models"]] == ["starting", "healthy"], status


def test_a_manager_that_was_killed_is_started_afresh(host: Machine) -> None:
    host.succeed("systemctl kill --kill-whom=main -s KILL user@503.service")
    host.wait_until_succeeds("systemctl is-failed user@503.service", timeout=60)
    host.succeed("systemctl start user@503.service")
    lost = "Podman of user 503 takes containers for running that are gone"
    code, checked = host.execute(f"llmhop-generator check {CONFIG} 2>&1")
    assert (code, lost in checked) == (1, True), checked
    host.wait_until_succeeds(
        "llmhop-generator status | grep 'a: Podman has lost its containers'", timeout=60
    )
    assert lost in host.succeed("llmhop-generator status")
    host.succeed("systemctl kill --kill-whom=main -s KILL user@503.service")
    host.wait_until_succeeds("systemctl is-failed user@503.service", timeout=60)
    write(host, "/root/none.json", config(image="localhost/none"))
    code, output = host.execute("llmhop-generator apply /root/none.json 2>&1")
    begun = [line.partition(":")[0] for line in output.splitlines()]
    assert begun[:2] == ["start user@503.service", "restart user@503.service"], output
    assert "not ready, and user@503.service was started; nothing else was changed" in output
    assert "localhost/none:v0.12.0 is not in the storage of vllm" in output
    host.succeed(f"llmhop-generator apply {CONFIG} 2>&1")
    assert host.succeed(f"llmhop-generator apply {CONFIG}") == "nothing to do\n"
