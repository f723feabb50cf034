"""What a boot would not start again is told by `check`, `diff` and `status`, each thing alone."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.host import systemd
from llmhop_generator.host.process import Account, Finished, account_of
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.layout import (
    MODELS_TARGET,
    ROUTER_SOCKET,
    ROUTER_UNIT,
    ROUTES_UNIT,
    model_files,
)
from llmhop_generator.preflight import boot
from llmhop_generator.render.host_tree import host_files

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import parse

UID = 503


class Host:
    """A host that was provisioned, and is to be changed; `disabled` are units of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.etc = root, root / "etc"
        self.disabled: set[str] = set()
        self.masked: set[str] = set()
        self.units = self.etc / "containers/systemd/users/503/llmhop"
        for path in (self.units, self.etc / "linger"):
            path.mkdir(parents=True)
        (self.etc / "linger/vllm").touch()
        for name, text in host_files(parse(MINIMAL), "llmhop").items():
            path = self.etc / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o644)

    def system(self, *words: str, check: bool = True) -> Finished:
        """Answer systemctl as the system's manager does."""
        *_, unit = words
        return Finished(int(unit in self.disabled), "", "")

    def states(self, units: list[str]) -> dict[str, UnitState]:
        return {
            u: UnitState.parse(
                f"LoadState={'masked' if u in self.masked else 'loaded'}\nActiveState=active"
            )
            for u in units
        }

    def findings(self) -> list[str]:
        return [
            problem.what
            for problem in (
                *boot.model_boot_findings("vllm", UID),
                *boot.router_boot_findings(has_models=True),
            )
        ]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    host = Host(tmp_path)
    # Whoever runs the tests; as root another user, as whom root may run what is asked.
    user = Account(65534, 65534) if os.geteuid() == 0 else account_of(os.geteuid())
    if os.geteuid() == 0:
        for directory in (tmp_path, *tmp_path.parents):
            if not directory.stat().st_mode & 0o001:  # pytest's own are for root alone
                directory.chmod(0o755)

    class Manager:
        def __init__(self, _: Any) -> None:
            pass

        states = staticmethod(host.states)

    for name, value in {
        "ETC": host.etc,
        "LINGER": host.etc / "linger",
        "USER_UNITS": (tmp_path / "none", host.etc / "systemd/user"),
        "SYSTEM_UNITS": host.etc / "systemd/system",
        "quadlet_dir": lambda _: host.units,
        "account_of": lambda _: user,
        "system_states": host.states,
        "UserManager": Manager,
    }.items():
        monkeypatch.setattr(boot, name, value)
    monkeypatch.setattr(systemd, "system", host.system)
    return host


def test_a_host_that_was_provisioned_starts_all_again(host: Host) -> None:
    assert host.findings() == []


LACKS: dict[str, tuple[Callable[[Host], Any], str]] = {
    "linger": (lambda host: (host.etc / "linger/vllm").unlink(), "vllm does not linger"),
    "its manager": (
        lambda host: host.masked.add("user@503.service"),
        "user@503.service is masked",
    ),
    "its target": (
        lambda host: (host.etc / "systemd/user" / MODELS_TARGET).unlink(),
        f"{MODELS_TARGET}, which starts the models at boot, is not on this host",
    ),
    "a link to its target": (
        lambda host: host.disabled.add(MODELS_TARGET),
        f"{MODELS_TARGET} is not enabled",
    ),
    "its target, masked by its user": (
        lambda host: host.masked.add(MODELS_TARGET),
        f"{MODELS_TARGET} is masked",
    ),
    "a way to its units": (
        lambda host: (host.etc / "containers/systemd").chmod(0),
        "/etc/containers/systemd can't be passed by vllm",
    ),
    "a link to llmhop's service": (
        lambda host: host.disabled.add(ROUTER_UNIT),
        f"{ROUTER_UNIT} is not enabled",
    ),
    "the service of its routes": (
        lambda host: (host.etc / "systemd/system" / ROUTES_UNIT).unlink(),
        f"{ROUTES_UNIT}, which gives llmhop the routes",
    ),
    "the service of its routes, which nobody may read": (
        lambda host: (host.etc / "systemd/system" / ROUTES_UNIT).chmod(0o600),
        f"{ROUTES_UNIT} has another owner or mode than it was given",
    ),
    "a link to the service of its routes": (
        lambda host: host.disabled.add(ROUTES_UNIT),
        f"{ROUTES_UNIT} is not enabled",
    ),
}


@pytest.mark.parametrize("what", LACKS)
def test_what_a_boot_lacks_is_told(what: str, host: Host) -> None:
    take, told = LACKS[what]
    take(host)
    (found,) = host.findings()
    (host.etc / "containers/systemd").chmod(0o755)
    assert told in found, found


@pytest.mark.parametrize("name", [n for n in model_files(UID) if not n.endswith(".target")])
def test_a_file_of_the_models_is_missing(name: str, host: Host) -> None:
    (host.etc / name).unlink()
    (found,) = host.findings()
    assert found.startswith(f"{host.etc / name} is not on this host; "), found


@pytest.mark.parametrize("name", model_files(UID))
def test_a_file_of_the_models_that_has_drifted(name: str, host: Host) -> None:
    (host.etc / name).chmod(0o600)
    (found,) = host.findings()
    assert found.startswith(f"{host.etc / name} has another owner or mode than it was given")


def test_llmhops_service_brings_its_socket_with_it(host: Host) -> None:
    host.disabled.add(ROUTER_SOCKET)
    assert host.findings() == []


def test_without_models_there_are_no_routes_to_give_back(host: Host) -> None:
    (host.etc / "systemd/system" / ROUTES_UNIT).unlink()
    assert [*boot.router_boot_findings(has_models=False)] == []


def test_what_somebody_else_wrote_is_theirs_to_enable(host: Host) -> None:
    for path in (host.etc / "systemd").rglob("*"):
        if path.is_file():
            path.write_text("# theirs\n")
    host.disabled |= {MODELS_TARGET, ROUTER_SOCKET, ROUTER_UNIT, ROUTES_UNIT}
    assert host.findings() == []


def notes(**vllm: Any) -> list[str]:
    return boot.outdated_notes(parse({**MINIMAL, "vllm": MINIMAL["vllm"] | vllm}))


UNITS = [*host_files(parse(MINIMAL), "llmhop")][2:]


@pytest.mark.parametrize("name", UNITS)
def test_a_file_that_provision_would_write_otherwise_is_told(name: str, host: Host) -> None:
    assert notes() == []
    path = host.etc / name
    text = path.read_text()
    path.write_text(text.replace("[Unit]\n", "[Unit]\n# earlier\n") + "\n")
    [told] = notes()
    assert told.startswith(f"{path}: written by `provision` for another configuration, or by an ")
    path.write_text("# theirs\n")
    assert notes() == []
    path.unlink()
    assert notes() == []


def test_the_lines_that_a_volume_adds_are_missed(host: Host) -> None:
    drop_in = host.etc / "systemd/system/user@503.service.d/llmhop.conf"
    [told] = notes(containerConfig={"Volume": "/srv/weights:/weights:ro"})
    assert told.startswith(f"{drop_in}: written by")
    [told] = notes(dataDir="/srv/data")
    assert told.startswith(f"{drop_in}: written by")


def test_what_a_unit_does_beyond_what_is_wanted_is_not_told(host: Host) -> None:
    both = {"containerConfig": {"Volume": ["/srv/a:/a", "/srv/my b:/b"]}, "openFilesLimit": 2048}
    for name, text in host_files(parse({**MINIMAL, "vllm": MINIMAL["vllm"] | both}), "x").items():
        (host.etc / name).write_text(text)
    less = {"containerConfig": {"Volume": "/srv/my b:/b"}, "openFilesLimit": 1024}
    for wanted in (both, less, {"openFilesLimit": 1024}):
        assert notes(**wanted) == []
    for more in (
        {"openFilesLimit": 2049},
        {**less, "containerConfig": {"Volume": "/srv/my:/b"}},
        {**less, "containerConfig": {"Volume": ["/srv/a:/a", "/srv/c:/c"]}},
        {**less, "cacheDir": "/srv/cache"},
    ):
        assert len(notes(**more)) == 1, more


def test_where_the_commands_lie_is_not_told(host: Host) -> None:
    config = parse(MINIMAL)
    for name, text in host_files(config, "/opt/llmhop", "/opt/llmhop-generator").items():
        (host.etc / name).write_text(text)
    assert boot.outdated_notes(config) == []
