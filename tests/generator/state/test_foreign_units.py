"""Models that run by files of somebody else: told as what they run by, with what to do."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from llmhop_generator.apply import run as apply
from llmhop_generator.cli.main import main
from llmhop_generator.parse.load import parse_config
from llmhop_generator.preflight.units import hidden_findings
from llmhop_generator.state import foreign_units, search_paths, source_drop_ins
from llmhop_generator.state.foreign_units import describe_drop_ins
from llmhop_generator.status.report import remarks, status

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import vllm_of
from tests.generator.support.simulated_host import UID, SimulatedHost

CONFIG = {**MINIMAL, "vllm": {**MINIMAL["vllm"], "openFilesLimit": 64}}
MODEL = "qwen2-5-7b"
SERVICE = f"vllm-{MODEL}.service"
HOME = "/var/lib/vllm/.config"

Show = Callable[..., None]


@pytest.fixture
def show(simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Have the manager of a host on which a model was applied say more of its unit."""
    bring()
    shown = simulated._shown

    def say(**more: object) -> None:
        own = simulated.runtime_dir(UID) / "systemd/generator" / SERVICE
        source = simulated.quadlet_dir(UID) / f"vllm-{MODEL}.container"
        told = {"FragmentPath": own, "SourcePath": source, **more}
        text = "".join(f"\n{key}={value}" for key, value in told.items())
        monkeypatch.setattr(simulated, "_shown", lambda service: shown(service) + text)

    say()
    return say


def bring() -> list[str]:
    told: list[str] = []
    read = parse_config(json.dumps(CONFIG).encode(), "config.json")
    apply.apply(read, told.append, lambda _: None, wait=True)
    return told


def told_of() -> list[str]:
    return [line for line in remarks(status()) if line.startswith(f"{MODEL}: ")]


def findings() -> list[str]:
    return [problem.what for problem in hidden_findings(vllm_of(CONFIG))]


def test_nothing_is_reported_of_a_model_that_runs_by_our_unit(show: Show) -> None:
    assert told_of() == findings() == []
    assert bring() == ["nothing to do"]


@pytest.mark.parametrize(
    "drop_in",
    [
        f"{HOME}/systemd/user/{SERVICE}.d/override.conf",
        f"{HOME}/systemd/user.control/{SERVICE}.d/50-MemoryMax.conf",
        f"/etc/systemd/user/{SERVICE}.d/site.conf",
        "/etc/systemd/user/service.d/site.conf",
        "/run/systemd/user/service.d/site.conf",
        "/usr/local/lib/systemd/user/service.d/site.conf",
        "/usr/local/lib/systemd/user/vllm-.service.d/site.conf",
        f"/usr/lib/systemd/user/{SERVICE}.d/site.conf",
        "/usr/lib/systemd/user/vllm-.service.d/site.conf",
    ],
)
def test_a_drop_in_of_somebody_else_is_told(
    drop_in: str, show: Show, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_system = "/usr/lib/systemd/user/service.d/10-timeout-abort.conf"
    show(DropInPaths=f"{of_system} {drop_in}")
    [told] = told_of()
    assert told.startswith(f"{MODEL}: its unit is changed by {drop_in}, which")
    is_of_model = f"/{SERVICE}.d/" in drop_in
    assert (f"`systemctl --user revert {SERVICE}`" in told) is is_of_model
    assert status().models[0].drop_ins == (drop_in,)
    warning, rest = bring()
    assert warning.startswith(f"warning: {SERVICE} is changed by {drop_in}, which")
    assert rest == "nothing to do"
    assert findings() == []
    monkeypatch.setattr("llmhop_generator.cli.main.require_root", lambda *_: None)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(CONFIG))
    assert CliRunner().invoke(main, ["diff", str(config)]).output == f"{warning}\nno change\n"


@pytest.mark.parametrize(
    ("shown", "path"),
    [  # as systemctl of systemd 257 prints them
        ('"/etc/systemd/user/service.d/my drop in.conf"', "my drop in.conf"),
        (r'''"/etc/systemd/user/service.d/tab\tq'\"b\\ü\$\`.conf"''', "tab\tq'\"b\\ü$`.conf"),
        (r'"/etc/systemd/user/service.d/\177 nl\n.conf"', "\x7f nl\n.conf"),
        ("/etc/systemd/user/service.d/a,b:c.conf", "a,b:c.conf"),
    ],
)
def test_a_drop_in_is_told_by_the_name_that_it_has(shown: str, path: str, show: Show) -> None:
    site = "/etc/systemd/user/service.d/site.conf"
    show(DropInPaths=f"{shown} {site}")
    assert status().models[0].drop_ins == (f"/etc/systemd/user/service.d/{path}", site)
    assert not {"\n", "\t"} & {*describe_drop_ins(SERVICE, status().models[0].drop_ins)}


@pytest.mark.parametrize("load", ["loaded", "bad-setting", "error"])
def test_a_drop_in_by_which_a_unit_can_not_start_is_refused(load: str, show: Show) -> None:
    drop_in = f"/etc/systemd/user/{SERVICE}.d/site.conf"
    show(DropInPaths=drop_in, LoadState=load)
    told = f"systemd can't use {SERVICE}, which is {describe_drop_ins(SERVICE, (drop_in,))}"
    told += "; then `systemctl --user -M vllm@.host daemon-reload`"
    assert findings() == ([told] if load != "loaded" else [])
    show(LoadState=load)  # as an edited source of ours may be, which `apply` puts right
    assert findings() == []


def test_what_comes_with_the_system_is_not_told(show: Show, tmp_path: Path) -> None:
    link = tmp_path / "overrides.conf"
    link.symlink_to("/nix/store/0-unit/overrides.conf")
    module = "/etc/systemd/user/vllm-.service.d/llmhop.conf"
    show(DropInPaths=f"/usr/lib/systemd/user/service.d/x.conf {link} {module}")
    assert told_of() == []


@pytest.mark.parametrize(
    ("files", "hiding"),
    [
        (
            {"SourcePath": f"{HOME}/containers/systemd/vllm-{MODEL}.container"},
            f"{HOME}/containers/systemd/vllm-{MODEL}.container",
        ),
        (
            {"FragmentPath": f"{HOME}/systemd/user/{SERVICE}", "SourcePath": ""},
            f"{HOME}/systemd/user/{SERVICE}",
        ),
        (
            {"FragmentPath": f"/etc/systemd/user/{SERVICE}", "SourcePath": ""},
            f"/etc/systemd/user/{SERVICE}",
        ),
    ],
)
@pytest.mark.parametrize("load", ["loaded", "bad-setting", "error"])
def test_a_file_that_hides_our_unit_is_told_and_refused(
    load: str, files: dict[str, str], hiding: str, show: Show
) -> None:
    show(**files, LoadState=load)
    [told] = told_of()
    assert told.startswith(f"{MODEL}: its unit is hidden by {hiding}, of which systemd makes it")
    [found] = findings()
    assert found.startswith(f"{SERVICE} is hidden by {hiding}, of which")


@pytest.mark.parametrize(
    "root",
    [
        "home/.config/systemd/user",
        "home/.config/systemd/user.control",
        f"run/{UID}/systemd/user",
        "site/systemd/user",
    ],
)
def test_a_link_that_gives_our_name_to_another_unit_is_told(
    root: str, show: Show, simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = "vllm-b.service"
    link = simulated.root / root / SERVICE
    account = SimpleNamespace(pw_dir=str(simulated.root / "home"), pw_name="vllm")
    users = SimpleNamespace(getpwuid=lambda _: account)
    monkeypatch.setattr(foreign_units, "pwd", users)
    monkeypatch.setattr(foreign_units, "USER_UNITS", (simulated.root / "site/systemd/user",))
    show(FragmentPath=simulated.runtime_dir(UID) / "systemd/generator" / other)
    assert f" is hidden by {simulated.runtime_dir(UID)}/systemd/generator/{other}, " in told_of()[0]
    link.parent.mkdir(parents=True)
    link.symlink_to(other)
    assert f" is hidden by {link}, of which" in told_of()[0]
    assert f" is hidden by {link}, of which" in findings()[0]


def test_a_unit_is_hidden_by_nothing_where_its_manager_names_no_file(show: Show) -> None:
    for unnamed in ("SourcePath", "FragmentPath"):
        show(**{unnamed: ""})
        assert told_of() == findings() == []
        assert status().models[0].hidden_by is None


def test_how_to_revert_is_told_where_one_of_the_drop_ins_is_of_the_unit() -> None:
    of_unit = f"{HOME}/systemd/user/{SERVICE}.d/override.conf"
    of_source = f"{HOME}/containers/systemd/container.d/x.conf"
    assert "revert" in describe_drop_ins(SERVICE, (of_unit, of_source))
    assert "revert" not in describe_drop_ins(SERVICE, (of_source,))


def test_our_source_may_be_reached_by_a_link(
    show: Show, simulated: SimulatedHost, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(simulated.quadlet_dir(UID))
    show(SourcePath=tmp_path / "link" / f"vllm-{MODEL}.container")
    assert told_of() == findings() == []


def test_a_unit_that_is_masked_or_gone_is_hidden_by_nothing(
    show: Show, simulated: SimulatedHost
) -> None:
    show(LoadState="masked", FragmentPath=f"/etc/systemd/user/{SERVICE}", SourcePath="")
    assert findings() == []
    simulated.down = {"user@503.service"}
    show(FragmentPath=f"/etc/systemd/user/{SERVICE}")
    assert findings() == []


USERS = "etc/containers/systemd/users"


@pytest.mark.parametrize(
    "directory",
    [
        f"home/.config/containers/systemd/vllm-{MODEL}.container.d",
        f"home/.config/containers/systemd/below/vllm-{MODEL}.container.d",
        f"run/{UID}/containers/systemd/vllm-{MODEL}.container.d",
        f"{USERS}/vllm-qwen2-5-.container.d",
        f"{USERS}/vllm-.container.d",
        f"{USERS}/container.d",
        f"{USERS}/{UID}/container.d",
        f"{USERS}/{UID}/llmhop/vllm-{MODEL}.container.d",
    ],
)
def test_a_drop_in_of_a_source_is_told(
    directory: str, show: Show, simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    show()
    root = simulated.root
    users = SimpleNamespace(getpwuid=lambda _: SimpleNamespace(pw_dir=str(root / "home")))
    monkeypatch.setattr(search_paths, "pwd", users)
    for name in ("x.conf", "x.txt"):
        (root / directory).mkdir(parents=True, exist_ok=True)
        (root / directory / name).write_text("[Container]\nEnvironment=A=1\n")
    drop_in = str(root / directory / "x.conf")
    [told] = told_of()
    assert told.endswith(
        f"is changed by {drop_in}, which the configuration knows nothing of; move that to "
        "containerConfig, serviceConfig or unitConfig"
    )
    assert status().models[0].drop_ins == (drop_in,)
    warning, rest = bring()
    assert warning == f"warning: {SERVICE} {told.partition('its unit ')[2]}"
    assert rest == "nothing to do"


@pytest.mark.parametrize(
    "directory",
    [
        f"{USERS}/504/vllm-{MODEL}.container.d",
        f"{USERS}/vllm-other.container.d",
        f"{USERS}/vllm-qwen.container.d",
        f"{USERS}/vllm-{MODEL}-.container.d",
        f"{USERS}/qwen2-5-7b.container.d",
        f"{USERS}/volume.d",
    ],
)
def test_drop_ins_of_other_sources_and_other_users_are_not_told(
    directory: str, show: Show, simulated: SimulatedHost
) -> None:
    show()
    (simulated.root / directory).mkdir(parents=True)
    (simulated.root / directory / "x.conf").touch()
    assert told_of() == []


def test_what_links_share_is_of_each_model_whose_link_it_is(
    simulated: SimulatedHost, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "x.conf").touch()
    simulated.quadlet_dir(UID).mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        link = simulated.quadlet_dir(UID) / f"vllm-{name}.container.d"
        link.symlink_to(tmp_path / "shared")
    read = source_drop_ins.read_source_drop_ins(UID)
    for name in ("a", "b"):
        [told] = source_drop_ins.drop_ins_of(f"vllm-{name}.container", read)
        assert told.endswith(f"/vllm-{name}.container.d/x.conf")


def test_a_link_to_a_whole_file_system_is_followed_for_a_while_only(
    simulated: SimulatedHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_paths, "_MOST_DIRECTORIES", 20)
    simulated.quadlet_dir(UID).mkdir(parents=True, exist_ok=True)
    (simulated.quadlet_dir(UID) / "everything").symlink_to("/proc")
    assert len(source_drop_ins.read_source_drop_ins(UID)) <= 4 * 20


def test_each_file_behind_links_is_reported_once(
    show: Show, simulated: SimulatedHost, tmp_path: Path
) -> None:
    show()
    directory = tmp_path / "elsewhere" / "container.d"
    directory.mkdir(parents=True)
    (directory / "x.conf").touch()
    (directory / "again").symlink_to(directory.parent)
    for name in ("link", "other"):
        (simulated.quadlet_dir(UID) / name).symlink_to(directory.parent)
    (simulated.quadlet_dir(UID) / "container.d").symlink_to(directory)
    [told] = status().models[0].drop_ins
    assert told.startswith(str(simulated.quadlet_dir(UID)))
    assert told.endswith("/container.d/x.conf")
