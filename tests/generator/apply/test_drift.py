"""Files of ours with another owner or mode than they were given: seen, told and mended.

A user's manager that can't read a unit has lost it at its next reload or boot, without a word.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.apply import run as apply
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.host import files, lock
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.plan_text import lines
from llmhop_generator.state import staging
from llmhop_generator.status.report import remarks, status

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import UID, SimulatedHost

A, B = "vllm-a.service", "vllm-b.service"
MODELS = {name: {"model": "m", "port": 18001 + i} for i, name in enumerate("ab")}
DATA = json.dumps(
    {**MINIMAL, "vllm": {**MINIMAL["vllm"], "openFilesLimit": 64, "models": MODELS}}
).encode()


@pytest.fixture
def host(simulated: SimulatedHost) -> SimulatedHost:
    """A host on which a configuration was applied."""
    apply_again()
    return simulated


def apply_again() -> None:
    done = apply.apply(parse_config(DATA, "config.json"), print, print, wait=True)
    assert done.failed == ()
    remember(DATA, done.wanted)
    assert is_up_to_date(DATA)


def planned() -> list[tuple[str, str, str]]:
    return lines(apply.plan_for(parse_config(DATA, "config.json")))


def source(host: SimulatedHost) -> Path:
    return host.quadlet_dir(UID) / "vllm-a.container"


DRIFTS: dict[str, tuple[Callable[[SimulatedHost], Any], set[str]]] = {
    "a unit that its user can't read": (lambda host: source(host).chmod(0o600), {A}),
    "a unit that anybody may write": (lambda host: source(host).chmod(0o666), {A}),
    "a directory that nobody else may enter": (
        lambda host: host.quadlet_dir(UID).chmod(0o700),
        {A, B},
    ),
}
if os.geteuid() == 0:  # who alone may give it away
    DRIFTS["a directory of somebody else"] = (
        lambda host: os.chown(host.quadlet_dir(UID), 65534, -1),
        {A, B},
    )


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("is_reloaded", [False, True])
@pytest.mark.parametrize("name", DRIFTS)
def test_a_drift_of_units_is_told_and_mended_while_models_serve(
    name: str,
    is_reloaded: bool,
    exchanges: bool,
    host: SimulatedHost,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drift, hit = DRIFTS[name]
    starts = {service: host.unit(service).starts for service in (A, B)}
    drift(host)
    if is_reloaded:
        host.reload()
    if not exchanges:  # as on a file system that has no exchange of names
        monkeypatch.setattr(staging, "_exchange", lambda *_: False)
    assert not is_up_to_date(DATA)
    assert {m.unit for m in status().models if m.edited_unit} == hit
    written = {f"{s.removesuffix('.service')}.container" for s in hit}
    told = planned()
    assert {(what, why) for what, _, why in told if what == "write"} == {
        ("write", "its owner or mode")
    }
    assert {target for what, target, _ in told if what == "write"} == written
    assert {what for what, *_ in told} == {"write", "swap", "reload"}
    apply_again()
    assert host.quadlet_dir(UID).stat().st_mode & 0o777 == 0o755
    assert host.quadlet_dir(UID).stat().st_uid == os.geteuid()
    for service in (A, B):
        assert host.unit(service).loaded is not None
        assert host.unit(service).starts == starts[service]
    assert not any(model.edited_unit for model in status().models)
    assert planned() == []


@pytest.mark.parametrize("name", DRIFTS)
def test_while_a_run_is_at_work_nothing_counts_as_drift(
    name: str, host: SimulatedHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(lock, "LOCK", tmp_path / "lock")
    DRIFTS[name][0](host)
    (host.router_config).write_text('{"models": {}}')
    with lock.locked(0, print):
        found = status()
        assert found.applying == os.getpid()
        assert not [m for m in found.models if m.edited_unit or m.earlier_unit or m.unrouted]
        assert remarks(found)[0].startswith(f"An apply is under way (pid {os.getpid()})")
    found = status()
    assert found.applying is None
    assert [m for m in found.models if m.edited_unit]
    assert all(m.unrouted for m in found.models)


def test_a_manager_that_could_not_read_a_unit_reads_it_again(host: SimulatedHost) -> None:
    source(host).chmod(0o600)
    host.reload()
    source(host).chmod(0o644)
    assert not is_up_to_date(DATA)
    assert [what for what, *_ in planned()] == ["reload"]
    apply_again()
    assert host.unit(A).loaded is not None


def test_llmhops_configuration_is_given_again_where_llmhop_may_not_read_it(
    host: SimulatedHost,
) -> None:
    host.router_config.chmod(0o600)
    assert not is_up_to_date(DATA)
    assert [what for what, *_ in planned()] == ["route"]
    apply_again()
    assert host.router_config.stat().st_mode & 0o777 == 0o640
    assert planned() == []


@pytest.mark.parametrize("name", ["environment.key", "wanted.json"])
def test_what_is_roots_alone_becomes_so_again(name: str, host: SimulatedHost) -> None:
    path = host.router_config.parent / name
    path.chmod(0o644)
    source(host).chmod(0o600)
    apply_again()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_has_drifted_by_mode_owner_or_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    files.write(path, "text\n")
    assert files.is_written(path, "text\n")
    assert not files.is_written(path, "other\n")
    gid = path.stat().st_gid
    assert not files.has_drifted(path, group=gid)
    assert files.has_drifted(path, group=gid + 1)
    assert files.has_drifted(path, mode=0o640)
    owner = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert files.has_drifted(path) is (owner != 0)  # to a plain user root's is as it was given
    if owner == 0:
        monkeypatch.undo()
        os.chown(path, 1, gid)
        assert files.has_drifted(path)
    assert not files.has_drifted(tmp_path / "nowhere")
