"""When an `apply` has nothing to do: each thing that a plan would mend is noticed without one."""

import json
import os
import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import llmhop_generator
import pytest
from click.testing import CliRunner
from llmhop_generator import layout
from llmhop_generator.apply import fast_path
from llmhop_generator.apply import run as apply
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.cli.main import main
from llmhop_generator.host import files, lock
from llmhop_generator.layout import provisioned_files
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.host_tree import host_files

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import UID, SimulatedHost
from tests.generator.support.simulation import killed

A, B = "vllm-a.service", "vllm-b.service"
FAR = {"far": {"url": "http://192.0.2.1:1"}}


@pytest.fixture
def host(simulated: SimulatedHost) -> SimulatedHost:
    return simulated


def contract(host: SimulatedHost, **changes: Any) -> bytes:
    """A configuration of two models, one of which reads an environment file."""
    models: dict[str, Any] = {
        name: {"model": "m", "port": 18001 + i} for i, name in enumerate("ab")
    }
    models["a"]["environmentFile"] = str(host.root / "a.env")
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "models": models}
    config = {**MINIMAL, "llmhop": {"settings": {"models": FAR}}, "vllm": vllm, **changes}
    return json.dumps(config).encode()


def applied(data: bytes) -> bytes:
    """Apply a configuration to its end, as the command does."""
    done = apply.apply(parse_config(data, "config.json"), print, print, wait=True)
    assert done.failed == ()
    remember(data, done.wanted)
    return data


@pytest.fixture
def data(host: SimulatedHost) -> bytes:
    """A configuration that was applied, after which there is nothing to do."""
    (host.root / "a.env").write_text("TOKEN=first\n")
    done = applied(contract(host))
    assert is_up_to_date(done)
    return done


Event = Callable[[SimulatedHost], Any]


def state(host: SimulatedHost, name: str) -> Path:
    return host.router_config.parent / name


def source(host: SimulatedHost) -> Path:
    return host.quadlet_dir(UID) / "vllm-a.container"


def note(host: SimulatedHost) -> Path:
    [found] = [path for path in host.runtime_dir(UID).iterdir() if "vllm-a" in path.name]
    return found


def changed(path: Path) -> None:
    path.write_text(path.read_text() + "\n")


def changed_to(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def edited_for_a_while(host: SimulatedHost) -> None:
    text = source(host).read_text()
    changed(source(host))
    host.reload()
    host.restart(A)
    host.settle()
    source(host).write_text(text)
    host.reload()


def made_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir(parents=True)


EVENTS: dict[str, Event] = {
    "llmhop has not read its configuration": (
        lambda host: state(host, "llmhop.before.json").write_text("{}")
    ),
    "llmhop has another configuration": lambda host: changed(host.router_config),
    "llmhop has no configuration": lambda host: host.router_config.unlink(),
    "llmhop is down": lambda host: setattr(host, "router", None),
    "llmhop's socket is down": lambda host: setattr(host, "lacks_socket", True),
    "a unit was changed": lambda host: changed(source(host)),
    "a unit was removed": lambda host: source(host).unlink(),
    "another user has a unit of ours": (
        lambda host: (
            host.quadlet_dir(504).joinpath("vllm-a.container").write_text(source(host).read_text())
        )
    ),
    "a set of units was left half-written": (
        lambda host: (host.root / "etc/containers/.llmhop-units-users-503-llmhop").mkdir(
            parents=True
        )
    ),
    "an environment file was changed": lambda host: changed(host.root / "a.env"),
    "an environment file was removed": lambda host: (host.root / "a.env").unlink(),
    "an environment file can't be read by the models' user": (
        lambda host: (host.root / "a.env").chmod(0o600)
    ),
    "the key of the digests is another": (
        lambda host: state(host, "environment.key").write_text("00" * 32)
    ),
    "a model runs by an earlier unit": lambda host: note(host).write_text("0 18001\n"),
    "a model has no note of its start": lambda host: note(host).unlink(),
    "the note of a model is of an earlier start": (
        lambda host: changed_to(note(host), f"{1:032x}", f"{2:032x}")
    ),
    "a model was started by what its unit was before it was put back": (
        lambda host: edited_for_a_while(host)
    ),
    "a unit is masked": lambda host: setattr(host.unit(B), "masked", True),
    "a model is stopped": lambda host: host.stop(B),
    "a model starts": lambda host: host.restart(B),
    "a model has crashed": lambda host: host.crash(B),
    "a manager has not read a unit": lambda host: setattr(host.unit(B), "loaded", ""),
    "the stamp is gone": lambda host: state(host, "applied.json").unlink(),
    "the stamp is damaged": lambda host: state(host, "applied.json").write_text('{"input": '),
    "the stamp is no object": lambda host: state(host, "applied.json").write_text("[]"),
    "the stamp is a directory": lambda host: made_a_directory(state(host, "applied.json")),
}


@pytest.mark.parametrize("event", EVENTS.values(), ids=EVENTS)
def test_what_a_plan_would_mend_is_noticed(host: SimulatedHost, data: bytes, event: Event) -> None:
    host.quadlet_dir(504).mkdir(parents=True)
    assert is_up_to_date(data)
    event(host)
    assert not is_up_to_date(data)


def provisioned(host: SimulatedHost, data: bytes) -> None:
    for path, text in host_files(parse_config(data, "config.json"), "llmhop").items():
        files.write(host.root / "etc" / path, text)
    for name in ("subuid", "subgid"):
        files.write(host.root / "etc" / name, "vllm:300000:65536\n")


FILES = (*provisioned_files(UID), "subuid", "subgid")


@pytest.mark.parametrize("name", FILES)
def test_a_host_that_was_provisioned_for_another_configuration_is_noticed(
    name: str, host: SimulatedHost, data: bytes
) -> None:
    provisioned(host, data)
    assert not is_up_to_date(data)  # no longer the host on which it was applied
    applied(data)
    assert is_up_to_date(data)
    path = host.root / "etc" / name
    kept = path.read_bytes()
    changed(path)
    assert not is_up_to_date(data)
    path.unlink()
    assert not is_up_to_date(data)
    path.write_bytes(kept)
    assert is_up_to_date(data)


ENABLED = (
    f"etc/systemd/system/multi-user.target.wants/{layout.ROUTER_UNIT}",
    f"etc/systemd/system/sockets.target.wants/{layout.ROUTER_SOCKET}",
    f"etc/systemd/system/multi-user.target.wants/{layout.ROUTES_UNIT}",
    f"etc/systemd/user/default.target.wants/{layout.MODELS_TARGET}",
    "linger/vllm",
)


@pytest.mark.parametrize("name", ENABLED)
def test_what_a_boot_starts_no_more_is_noticed(name: str, host: SimulatedHost, data: bytes) -> None:
    path = host.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/dev/null")
    assert not is_up_to_date(data)
    applied(data)
    path.unlink()
    assert not is_up_to_date(data)
    applied(data)
    assert is_up_to_date(data)


def test_all_that_provision_writes_is_looked_at(host: SimulatedHost) -> None:
    assert {*host_files(parse_config(contract(host), "config.json"), "llmhop")} == {
        *provisioned_files(MINIMAL["vllm"]["uid"])
    }


def test_what_provision_has_to_write_anew_is_told_by_each_run(
    host: SimulatedHost, data: bytes
) -> None:
    provisioned(host, data)
    path = host.root / "etc/systemd/system" / layout.ROUTER_UNIT
    changed(path)
    config = parse_config(data, "config.json")
    for _ in range(2):
        told: list[str] = []
        done = apply.apply(config, told.append, print, wait=True)
        assert told[0].startswith(f"warning: {path}: written by `provision` for another")
        assert told[1:] == ["nothing to do"]
        assert done.outdated
    provisioned(host, data)
    assert not apply.apply(config, print, print, wait=True).outdated


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("is_outdated", [True, False])
def test_a_run_remembers_what_leaves_nothing_to_tell(
    is_outdated: bool,
    wait: bool,
    host: SimulatedHost,
    data: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the command itself, twice: the second run is quick where the first has remembered."""
    monkeypatch.setattr("llmhop_generator.cli.main.require_root", lambda *_: None)
    monkeypatch.setattr("llmhop_generator.cli.main.exit_on_signals", lambda: None)
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    provisioned(host, data)
    if is_outdated:
        changed(host.root / "etc/systemd/system" / layout.ROUTER_UNIT)
    config = tmp_path / "config.json"
    config.write_bytes(data)
    words = ["apply", str(config), *([] if wait else ["--no-wait"])]
    for _ in range(2):
        done = CliRunner().invoke(main, words)
        assert (done.exit_code, "warning" in done.output) == (0, is_outdated), done.output
    assert is_up_to_date(data) is (wait and not is_outdated)


@pytest.mark.parametrize("kind", ["of the unit", "of its source"])
def test_a_drop_in_of_somebody_else_is_told_by_each_run(
    kind: str, host: SimulatedHost, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "of the unit":
        shown = host._shown
        drop_in = f"/etc/systemd/user/{A}.d/site.conf"
        monkeypatch.setattr(host, "_shown", lambda unit: f"{shown(unit)}\nDropInPaths={drop_in}")
    else:
        path = host.runtime_dir(UID) / "containers/systemd/container.d/site.conf"
        path.parent.mkdir(parents=True)
        path.touch()
    assert not is_up_to_date(data)
    told: list[str] = []
    apply.apply(parse_config(data, "config.json"), told.append, print, wait=True)
    assert ["warning" in line for line in told] == [True, True, False]


def test_another_configuration_is_noticed_though_it_says_the_same(
    host: SimulatedHost, data: bytes
) -> None:
    assert not is_up_to_date(data + b"\n")
    assert is_up_to_date(applied(data + b"\n"))


def test_another_version_is_noticed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llmhop_generator, "__version__", "another")
    assert not is_up_to_date(data)


def test_a_manager_that_is_down_is_noticed(host: SimulatedHost, data: bytes) -> None:
    host.down = {layout.user_manager(UID)}
    assert not is_up_to_date(data)


@pytest.mark.parametrize("name", ["layout.py", "host.toml", "render/model_unit.py"])
def test_another_program_is_noticed(
    name: str, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = Path(shutil.copytree(fast_path.PACKAGE, tmp_path / "package"))
    monkeypatch.setattr(fast_path, "PACKAGE", package)
    applied(data)
    assert is_up_to_date(data)
    os.utime(package / name, ns=(0, 0))
    assert not is_up_to_date(data)
    applied(data)
    (package / name).write_text("# another")
    os.utime(package / name, ns=(0, 0))
    assert not is_up_to_date(data)


@pytest.mark.parametrize(
    ("limit", "may_raise", "settles"), [(63, True, False), (63, False, True), (64, True, True)]
)
def test_a_limit_that_is_too_low_is_noticed_where_it_can_be_raised(
    data: bytes, limit: int, may_raise: bool, settles: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_path, "hard_open_files_limit", lambda _pid: limit)
    monkeypatch.setattr(fast_path, "may_raise_limits", lambda: may_raise)
    assert is_up_to_date(data) is settles


def test_without_models_llmhop_alone_counts(host: SimulatedHost) -> None:
    settings = {"enable": True, "settings": {"models": FAR}}
    data = applied(contract(host, llmhop=settings, vllm={"enable": False}))
    assert is_up_to_date(data)
    host.router = None
    assert not is_up_to_date(data)


def test_with_nothing_wanted_nothing_is_asked(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = applied(contract(host, llmhop={"enable": False}, vllm={"enable": False}))

    def asked(_command: str) -> None:
        raise AssertionError("no manager need be asked")

    host.interrupt = asked
    assert is_up_to_date(data)


def test_a_stamp_that_can_not_be_kept_fails_nothing(host: SimulatedHost, data: bytes) -> None:
    made_a_directory(state(host, "applied.json"))
    remember(data, apply.plan_for(parse_config(data, "config.json")).wanted)
    assert not is_up_to_date(data)


@pytest.mark.parametrize("number", [1, 2])
def test_a_killed_end_of_llmhop_leaves_nothing_that_no_run_ends(
    number: int, host: SimulatedHost, data: bytes
) -> None:
    state(host, "llmhop.before.json").write_text("{}")  # a killed change was before it
    off = contract(host, llmhop={"enable": False})
    removals = count(1)
    with killed(host, lambda effect: effect == "remove" and next(removals) == number):
        applied(off)
    applied(off)
    assert is_up_to_date(off)
