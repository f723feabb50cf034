"""Files that come before ours: found where they lie, also before a manager has read them."""

import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from llmhop_generator.apply.fast_path import is_up_to_date, remember
from llmhop_generator.apply.run import apply
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.parse.load import parse_config
from llmhop_generator.preflight.units import hidden_findings, mask_findings
from llmhop_generator.state import foreign_units, search_paths
from llmhop_generator.state.search_paths import hiding_sources, unit_directories
from llmhop_generator.status.report import remarks, status

from tests.generator.support.contracts import vllm_of
from tests.generator.support.simulated_host import UID, SimulatedHost

SERVICE, SOURCE = "vllm-a.service", "vllm-a.container"
USERS = "etc/containers/systemd/users"
MODELS = {"a": {"model": "m", "port": 18001}, "b": {"model": "m", "port": 18002}}
CONFIG = {
    "version": 1,
    "vllm": {
        "enable": True,
        "uid": UID,
        "subUidStart": 300000,
        "tag": "v1",
        "openFilesLimit": 64,
        "models": MODELS,
    },
}
# As Podman 5.4 takes them (`quadlet -dryrun -user`, the one it takes removed each time).
SOURCES_BEFORE = (
    f"run/{UID}/containers/systemd",
    f"run/{UID}/containers/systemd/a",
    "home/.config/containers/systemd",
    "home/.config/containers/systemd/x",
    USERS,
    f"{USERS}/site",
    f"{USERS}/{UID}",
    f"{USERS}/{UID}/aaa",
)
SOURCES_BEHIND = (f"{USERS}/{UID}/zzz", f"{USERS}/504", f"{USERS}/{UID}/llmhop/below")
UNITS = {
    "home/.config/systemd/user": "systemctl --user -M vllm@.host unmask",
    "etc/systemd/user": "systemctl --global unmask",
    f"run/{UID}/systemd/user": "systemctl --user -M vllm@.host unmask --runtime",
    "home/.config/systemd/user.control": None,
    f"run/{UID}/systemd/user.control": None,
    f"run/{UID}/systemd/transient": None,
    f"run/{UID}/systemd/generator.early": None,
}
RELOAD = "`systemctl --user -M vllm@.host daemon-reload`"


@pytest.fixture
def host(simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> SimulatedHost:
    """A host whose user has a home."""
    account = SimpleNamespace(pw_dir=str(simulated.root / "home"), pw_name="vllm")
    users = SimpleNamespace(getpwuid=lambda _: account)
    for module in (search_paths, foreign_units):
        monkeypatch.setattr(module, "pwd", users)
    return simulated


def put(host: SimulatedHost, directory: str, name: str, text: str = "[Unit]\n") -> Path:
    path = host.root / directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def applied() -> bytes:
    data = json.dumps(CONFIG).encode()
    remember(data, apply(parse_config(data, "c"), print, print, wait=True).wanted)
    assert is_up_to_date(data)
    return data


@pytest.mark.parametrize("has_ours", [True, False])
def test_the_source_of_a_name_that_podman_takes_hides_ours(
    has_ours: bool, host: SimulatedHost
) -> None:
    if has_ours:
        put(host, f"{USERS}/{UID}/llmhop", SOURCE)
    else:
        host.quadlet_dir(UID).rmdir()
    for directory in SOURCES_BEHIND[: None if has_ours else 2]:
        put(host, directory, SOURCE)
    assert hiding_sources(UID) == {}
    for directory in reversed(SOURCES_BEFORE):
        path = put(host, directory, SOURCE)
        assert hiding_sources(UID) == {SOURCE: path}


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize("directory", [*SOURCES_BEFORE, *UNITS])
def test_a_hiding_file_is_told_before_its_manager_has_read_it(
    directory: str, is_up: bool, host: SimulatedHost
) -> None:
    data = applied()
    path = put(host, directory, SERVICE if directory in UNITS else SOURCE)
    assert not is_up_to_date(data)
    host.down = set() if is_up else {f"user@{UID}.service"}
    [found] = hidden_findings(vllm_of(CONFIG))
    assert (found.where, found.what.partition(", ")[0]) == (
        "services.llmhop.vllm.models.a",
        f"{SERVICE} is hidden by {path}",
    )
    if is_up:
        assert {m.model: m.hidden_by for m in status().models} == {"a": str(path), "b": None}
        assert any(
            line.startswith(f"a: its unit is hidden by {path}, ") for line in remarks(status())
        )
    path.unlink()
    assert [*hidden_findings(vllm_of(CONFIG))] == []


@pytest.mark.parametrize("kind", ["link", "empty file"])
@pytest.mark.parametrize(("directory", "command"), UNITS.items())
def test_the_way_out_of_a_mask_is_told_by_where_it_lies(
    directory: str, command: str | None, kind: str, host: SimulatedHost
) -> None:
    data = applied()
    path = put(host, directory, SERVICE, "")
    if kind == "link":
        path.unlink()
        path.symlink_to(os.devnull)
    assert not is_up_to_date(data)
    if command is None or kind == "empty file":
        way = f"`rm {path}` and {RELOAD}"
    elif "--global" in command:
        way = f"`{command} {SERVICE}` and {RELOAD}"
    else:
        way = f"`{command} {SERVICE}`"
    told = f"masked, so nothing can start it; unmask it by {way}"
    for is_read in (False, True):
        host.unit(SERVICE).masked = is_read
        [found] = mask_findings(vllm_of(CONFIG))
        assert found.what == f"{SERVICE} is {told}, or disable the model"
        assert f"a: its unit is {told}" in remarks(status())
        assert [*hidden_findings(vllm_of(CONFIG))] == []
    path.unlink()
    # What the manager still has of it goes with a reload.
    [found] = mask_findings(vllm_of(CONFIG))
    assert f"unmask it by {RELOAD}, or" in found.what
    host.unit(SERVICE).masked = False
    assert [*mask_findings(vllm_of(CONFIG))] == []


def test_a_directory_that_can_not_be_looked_into_tells_nothing(
    host: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Path) -> bool:
        raise PermissionError

    put(host, "etc/systemd/user", SERVICE)
    monkeypatch.setattr(Path, "is_symlink", refuse)
    assert search_paths.hiding_unit(UID, SERVICE) is None


def test_no_home_of_a_removed_user_is_looked_into(simulated: SimulatedHost) -> None:
    home = "/.config/"
    assert not [path for path in unit_directories(UID) if home in str(path)]
    assert not [path for path in search_paths.source_directories(UID) if home in str(path)]
    put(simulated, "etc/systemd/user", SERVICE, "")
    way = foreign_units.how_to_unmask(UID, SERVICE, UnitState.parse(""))
    assert way == f"`rm {simulated.root}/etc/systemd/user/{SERVICE}` and {RELOAD}".replace(
        "vllm@", f"{UID}@"
    )
