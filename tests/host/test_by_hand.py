"""What somebody does to units by hand, and what systemd does not start: seen, told, put right."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.host.cache import Cache
from tests.host.machine import Machine
from tests.host.project import wheels
from tests.host.setup import FOUND_HEALTHY_SOON, Setup, standin_image, write
from tests.host.shared_machine import Share, SharedMachine

CONFIG = "/etc/llmhop/config.json"
UNITS = "/etc/containers/systemd/users/503/llmhop"
A, B = f"{UNITS}/vllm-a.container", f"{UNITS}/vllm-b.container"
MANAGER = "systemctl --user -M vllm@.host"


def config(**models: dict[str, Any]) -> str:
    """Models that start side by side: a and b, or others."""
    ports = enumerate((models or {"a": {}, "b": {}}).items(), start=18001)
    vllm = {
        "enable": True,
        "uid": 503,
        "subUidStart": 300000,
        "image": "localhost/standin",
        "tag": "v0.12.0",
        "startupOrdering": False,
        "serviceConfig": {"RestartSec": 2},
        **FOUND_HEALTHY_SOON,
        "models": {name: {"model": "m", "port": port, **model} for port, (name, model) in ports},
    }
    return json.dumps({"version": 1, "vllm": vllm})


@pytest.fixture(scope="module")
def shared(share: Share, cache: Cache) -> SharedMachine:
    setup = Setup("config", {"config": config()}, standin_image(cache), applied=False)
    return share("by-hand", setup.prepare(wheels(cache)))


@pytest.fixture
def host(shared: SharedMachine, request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A host that serves a and b, where an apply has nothing to do."""
    for machine in shared.lend(request.node):
        write(machine, CONFIG, config())
        apply(machine)
        yield machine


def apply(machine: Machine) -> str:
    return machine.succeed(f"llmhop-generator apply {CONFIG} 2>&1")


def invocations(machine: Machine) -> list[str]:
    """The ids of the starts of a and b."""
    shown = machine.succeed(f"{MANAGER} show -P InvocationID vllm-a.service vllm-b.service")
    return shown.split()


def status(machine: Machine) -> dict[str, dict[str, Any]]:
    told = json.loads(machine.succeed("llmhop-generator status --json"))
    return {model["model"]: model for model in told["models"]}


def reload(machine: Machine) -> None:
    machine.succeed(f"{MANAGER} daemon-reload")


def restart(machine: Machine, model: str) -> None:
    reload(machine)
    machine.succeed(f"{MANAGER} restart vllm-{model}.service")


EDIT = f"sed -i.kept 's/^.Container.$/&\\nEnvironment=BY_HAND=1/' {A}"


@pytest.mark.parametrize("put_back", [False, True])
def test_a_model_that_runs_by_an_edited_unit_is_replaced_and_no_other(
    host: Machine, put_back: bool
) -> None:
    a, b = invocations(host)
    host.succeed(EDIT)
    restart(host, "a")
    assert "BY_HAND" in host.succeed("curl -fsS http://127.0.0.1:18001/report")
    if put_back:
        host.succeed(f"mv {A}.kept {A}")
        reload(host)
    told = status(host)
    assert (told["a"]["earlier_unit"], told["b"]["earlier_unit"]) == (True, False)
    code, steps = host.execute(f"llmhop-generator diff {CONFIG}")
    assert (code, "vllm-b" in steps) == (4, False), steps
    assert ("Environment BY_HAND" in steps) is not put_back, steps
    output = apply(host)
    assert "stop vllm-a.service" in output, output
    assert "vllm-b.service" not in output, output
    now = invocations(host)
    assert now[0] != a
    assert now[1] == b
    assert "BY_HAND" not in host.succeed("curl -fsS http://127.0.0.1:18001/report")
    assert apply(host) == "nothing to do\n"
    assert not status(host)["a"]["earlier_unit"]


def test_a_unit_that_was_edited_and_not_restarted_is_put_back_and_nothing_restarts(
    host: Machine,
) -> None:
    before = invocations(host)
    host.succeed(EDIT)
    assert status(host)["a"]["edited_unit"]
    assert "a: its unit file is not what" in host.succeed("llmhop-generator status")
    apply(host)
    assert "BY_HAND" not in host.succeed(f"cat {A}")
    assert invocations(host) == before
    assert apply(host) == "nothing to do\n"


def test_a_unit_that_systemd_has_not_read_is_not_taken_for_what_runs(host: Machine) -> None:
    host.succeed(EDIT)
    restart(host, "a")
    # Back on the disk, where systemd has read the edited one and starts by that.
    host.succeed(f"mv {A}.kept {A}", f"{MANAGER} restart vllm-a.service")
    assert "BY_HAND" in host.succeed("curl -fsS http://127.0.0.1:18001/report")
    reload(host)
    assert status(host)["a"]["earlier_unit"]
    apply(host)
    assert "BY_HAND" not in host.succeed("curl -fsS http://127.0.0.1:18001/report")


def test_a_unit_that_was_only_touched_is_the_one_that_its_model_runs_by(host: Machine) -> None:
    host.succeed(f"touch {A}", f"{MANAGER} restart vllm-a.service")
    now = invocations(host)
    told = status(host)["a"]
    assert (told["earlier_unit"], told["edited_unit"]) == (False, False)
    assert "vllm-a" not in host.execute(f"llmhop-generator diff {CONFIG}")[1]
    assert "vllm-a" not in apply(host)
    assert invocations(host) == now
    assert apply(host) == "nothing to do\n"


def test_a_unit_that_was_removed_is_put_back_and_its_model_runs_on(host: Machine) -> None:
    before = invocations(host)
    host.succeed(f"rm {A}")
    reload(host)
    told = status(host)["a"]
    assert (told["state"], told["port"], told["edited_unit"]) == ("healthy", 18001, True)
    output = apply(host)
    assert "write vllm-a.container: new" in output, output
    assert invocations(host) == before
    assert apply(host) == "nothing to do\n"


def test_a_model_without_a_unit_that_is_not_wanted_any_more_is_stopped(host: Machine) -> None:
    host.succeed(f"rm {B}", f"{MANAGER} restart vllm-b.service")
    for reads in (lambda _: None, reload):
        reads(host)
        told = status(host)["b"]
        assert (told["earlier_unit"], told["edited_unit"]) == (False, True)
    logs = "llmhop-generator logs --no-follow"
    assert "serving m on port 8000" in host.succeed(f"{logs} b")
    write(host, CONFIG, config(a={}))
    output = apply(host)
    assert "stop vllm-b.service: removed" in output, output
    host.wait_for_closed_port(18002, timeout=30)
    assert status(host).keys() == {"a"}
    assert apply(host) == "nothing to do\n"


@pytest.mark.parametrize("runtime", ["", " --runtime"])
def test_a_masked_unit_is_told_with_the_way_out(host: Machine, runtime: str) -> None:
    before = invocations(host)
    host.succeed(f"{MANAGER} mask{runtime} vllm-a.service")
    code, output = host.execute(f"llmhop-generator apply {CONFIG} 2>&1")
    assert code == 1, output
    where = "vllm.models.a: vllm-a.service is masked, so nothing can start it"
    assert where in output, output
    assert "masked" in status(host)["a"]["last_error"]
    assert invocations(host) == before
    told = output.partition("unmask it by `")[2].partition("`")[0]
    assert told.endswith(f" unmask{runtime} vllm-a.service")
    host.succeed(told)
    assert apply(host) == "nothing to do\n"


def test_a_drop_in_that_changes_what_podman_runs_is_told(host: Machine) -> None:
    unit = "/run/user/503/systemd/generator/vllm-a.service"
    for name, place in {
        "vllm-a.container.d": "/var/lib/vllm/.config/containers/systemd",
        "vllm-.container.d": "/run/user/503/containers/systemd/below",
        "container.d": "/etc/containers/systemd/users",
    }.items():
        write(host, f"{place}/{name}/x.conf", "[Container]\nEnvironment=DROPPED_IN=1")
        reload(host)
        host.succeed(f"grep DROPPED_IN {unit}")
        assert status(host)["a"]["drop_ins"] == [f"{place}/{name}/x.conf"]
        code, output = host.execute(f"llmhop-generator diff {CONFIG} 2>&1")
        assert code == 0, output
        assert f"warning: vllm-a.service is changed by {place}/{name}/x.conf, " in output, output
        host.succeed(f"rm -r {place}/{name}")
    reload(host)
    host.fail(f"grep DROPPED_IN {unit}")
    assert status(host)["a"]["drop_ins"] == []


def test_a_drop_in_of_a_unit_is_told_by_its_name_wherever_it_lies(host: Machine) -> None:
    kept = [
        "/etc/systemd/user/vllm-a.service.d/a 'b' \"c\" $d \\e.conf",
        "/usr/lib/systemd/user/vllm-.service.d/y.conf",
        "/usr/local/lib/systemd/user/service.d/x.conf",
    ]
    of_system = "/usr/lib/systemd/user/service.d/z.conf"
    for path in (*kept, of_system):
        write(host, path, "[Service]\nEnvironment=DROPPED_IN=1")
    reload(host)
    assert sorted(status(host)["a"]["drop_ins"]) == kept
    for _ in range(2):
        output = apply(host)
        assert "warning: vllm-a.service is changed by /etc/systemd/user/" in output, output
        assert output.endswith("nothing to do\n"), output
    host.succeed(*(f"rm {shlex.quote(path)}" for path in (*kept, of_system)))
    reload(host)
    assert apply(host) == "nothing to do\n"


def test_a_file_that_systemd_can_not_use_hides_or_spoils_a_unit_all_the_same(host: Machine) -> None:
    path = "/etc/systemd/user/vllm-a.service"
    write(host, path, "[Service]\nType=oneshot\n")
    reload(host)
    assert status(host)["a"]["hidden_by"] == path
    code, output = host.execute(f"llmhop-generator check {CONFIG} 2>&1")
    assert (code, f"vllm-a.service is hidden by {path}, " in output) == (1, True), output
    host.succeed(f"rm {path}")
    spoiling = f"{path}.d/x.conf"
    write(host, spoiling, "[Service]\nExecStart=\n")
    reload(host)
    code, output = host.execute(f"llmhop-generator check {CONFIG} 2>&1")
    assert code == 1, output
    assert f"systemd can't use vllm-a.service, which is changed by {spoiling}, " in output
    host.succeed(f"rm {spoiling}")
    reload(host)
    assert apply(host) == "nothing to do\n"


# What systemd does not start, and what is told of it.
NOT_STARTED: dict[str, tuple[dict[str, Any], str]] = {
    "program": (
        {"serviceConfig": {"ExecStartPre": ["/bin/true", "/opt/none --x"]}},
        "serviceConfig.ExecStartPre: program of the unit missing: Failed at step EXEC "
        "spawning /opt/none: No such file or directory",
    ),
    "after": (
        {"serviceConfig": {"ExecStartPost": "/opt/none"}},
        "serviceConfig.ExecStartPost: program of the unit missing: Failed at step EXEC",
    ),
    "directory": (
        {"serviceConfig": {"WorkingDirectory": "/srv/none"}},
        "serviceConfig.WorkingDirectory: key of the unit that can't be carried out: "
        "Failed at step CHDIR",
    ),
    "variables": (
        {"serviceConfig": {"EnvironmentFile": "/srv/none.env"}},
        "serviceConfig.EnvironmentFile: key of the unit that can't be carried out: "
        "Failed to load environment files",
    ),
    "command": (
        {"serviceConfig": {"ExecStartPre": "/bin/sh -c 'exit 3'"}},
        "serviceConfig.ExecStartPre: command of the unit failed: a command of the unit ended "
        "with code=exited, status=3/NOTIMPLEMENTED",
    ),
    "condition": (
        {"unitConfig": {"ConditionPathExists": "/srv/none"}},
        "unitConfig.ConditionPathExists: condition of the unit not met: "
        "ConditionPathExists=/srv/none not met, so systemd did not start it",
    ),
    "assert": (
        {"unitConfig": {"AssertPathExists": "/srv/none"}},
        "unitConfig.AssertPathExists: condition of the unit not met: "
        "AssertPathExists=/srv/none not met, so systemd did not start it",
    ),
    "exec": (
        {"serviceConfig": {"ExecCondition": "/bin/false"}},
        "serviceConfig.ExecCondition: condition of the unit not met: ExecCondition=",
    ),
}


# One that is not healthy in time, which systemd ends.
SLOW = {"environment": {"STANDIN_START_DELAY": "60"}, "serviceConfig": {"TimeoutStartSec": 3}}


def test_what_systemd_does_not_start_is_told_at_once_by_its_option(host: Machine) -> None:
    models = {name: model for name, (model, _) in NOT_STARTED.items()}
    write(host, CONFIG, config(**models, slow=SLOW))
    code, output = host.execute(f"llmhop-generator apply {CONFIG} 2>&1")
    assert code == 3, output
    told: dict[str, list[str]] = {name: [] for name in NOT_STARTED}
    for line in output.splitlines():
        service, _, what = line.partition(": ")
        if service.endswith(".service") and what.startswith("vllm.models."):
            told[service.removeprefix("vllm-").removesuffix(".service")].append(what)
    for name, (_, words) in NOT_STARTED.items():
        assert len(told[name]) == 1, (name, output)
        assert told[name][0].startswith(f"vllm.models.{name}.{words}"), (name, output)
    certain = output.count("fails, and so will each start that systemd goes on trying: vllm.models")
    assert certain == 4, output
    too_slow = "too slow: it was not healthy before its start timed out"
    assert f"vllm-slow.service: {too_slow}" in output, output
    assert status(host)["slow"]["last_error"].startswith(too_slow)
    # After the first start, not when a second one has failed.
    at_once = "program: fails, and so will each start"
    assert output.index(at_once) < output.index("program: starting, restart 1"), output


def test_a_condition_that_is_not_met_any_more_tells_of_no_earlier_run(host: Machine) -> None:
    host.succeed("touch /srv/there")
    there = {"unitConfig": {"ConditionPathExists": "/srv/there"}}
    write(host, CONFIG, config(a=there, b={}))
    apply(host)
    host.succeed("rm /srv/there")
    write(host, CONFIG, config(a={**there, "settings": {"seed": 1}}, b={}))
    code, output = host.execute(f"llmhop-generator apply {CONFIG} 2>&1")
    assert code == 3, output
    assert "ConditionPathExists=/srv/there not met" in output, output
    assert "GET /health" not in output, output
    error = status(host)["a"]["last_error"]
    assert error.startswith("condition of the unit not met: ConditionPathExists"), error


# A file system that is mounted when somebody says so, as one of the network is when it answers.
LATE = {
    "srv-models.mount": "[Unit]\nRequires=answering.service\nAfter=answering.service\n"
    "[Mount]\nWhat=/srv/disk\nWhere=/srv/models\nType=none\nOptions=bind,nofail\n",
    "answering.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    "ExecStart=sh -c 'until test -e /run/answers; do sleep 0.2; done'\n",
}


def test_models_wait_at_boot_for_the_mount_of_a_volume(host: Machine) -> None:
    host.succeed("mkdir -p /srv/disk /srv/models && touch /srv/disk/weights")
    for name, text in LATE.items():
        write(host, f"/etc/systemd/system/{name}", text)
    host.succeed(
        "touch /run/answers && systemctl daemon-reload && systemctl start srv-models.mount"
    )
    volume = {"containerConfig": {"Volume": "/srv/models:/models:ro"}}
    write(host, CONFIG, config(a=volume))
    host.succeed(f"llmhop-generator provision {CONFIG}")
    apply(host)
    host.reboot()
    # Nothing but the models wants it.
    waiting = "systemctl list-jobs --no-legend | grep '{} .*start {}'"
    host.wait_until_succeeds(waiting.format("answering.service", "running"), timeout=60)
    host.wait_until_succeeds(waiting.format("user@503.service", "waiting"), timeout=60)
    host.succeed("test ! -e /srv/models/weights")
    host.succeed("touch /run/answers")
    host.wait_until_succeeds("systemctl is-active user@503.service", timeout=60)
    host.wait_for_unit("vllm-a.service", user="vllm", timeout=120)
    environment = "HOME=/var/lib/vllm XDG_RUNTIME_DIR=/run/user/503"
    podman = f"cd / && runuser -u vllm -- env {environment} podman inspect"
    pid = host.succeed(f"{podman} -f '{{{{.State.Pid}}}}' vllm-a").strip()
    host.succeed(f"test -e /proc/{pid}/root/models/weights")
    write(host, CONFIG, config())
    host.succeed(f"llmhop-generator provision {CONFIG}")
    for name in LATE:
        host.succeed(f"systemctl stop {name}; rm /etc/systemd/system/{name}")
    host.succeed("systemctl daemon-reload")
