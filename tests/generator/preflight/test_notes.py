"""Notes on a host that is ready: what its administrator should know, and nothing refuses."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.preflight import notes
from llmhop_generator.preflight.notes import host_notes

from tests.generator.conftest import MINIMAL
from tests.generator.support.contracts import parse
from tests.generator.support.simulated_host import SimulatedHost

WHERE = "services.llmhop.vllm.models.a.environmentFile"


@pytest.fixture(autouse=True)
def host(simulated: SimulatedHost) -> SimulatedHost:
    """A host that is simulated."""
    return simulated


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody may enter, as pytest's own ones may not be."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def config(**model: Any) -> Any:
    own = {"model": "m", "port": 18001, **model}
    off = {"model": "m", "port": 18002, "enable": False, "environmentFile": "/etc/passwd"}
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "models": {"a": own, "off": off}}
    return parse({**MINIMAL, "vllm": vllm})


@pytest.mark.parametrize(
    ("mode", "above", "is_told"),
    [(0o644, 0o755, True), (0o604, 0o711, True), (0o640, 0o755, False), (0o644, 0o700, False)],
)
def test_an_environment_file_that_everybody_can_read_is_told(
    mode: int, above: int, is_told: bool, open_directory: Path
) -> None:
    path = open_directory / "secrets/a.env"
    path.parent.mkdir()
    path.touch()
    path.chmod(mode)
    path.parent.chmod(above)
    told = f"{WHERE}: {path} can be read by every user of this host; where it holds secrets, let"
    found = host_notes(config(environmentFile=str(path)))
    assert [note.startswith(told) for note in found] == [True] * is_told


@pytest.mark.parametrize("path", ["/nowhere/a.env", "/etc"])
def test_nothing_is_noted_of_what_is_no_file(path: str) -> None:
    assert host_notes(config(environmentFile=path)) == []


def test_nothing_is_noted_of_a_loop_of_links(tmp_path: Path) -> None:
    loop = tmp_path / "a.env"
    loop.symlink_to(loop)
    assert host_notes(config(environmentFile=str(loop))) == []


@pytest.mark.parametrize(
    ("given", "may_raise", "is_told"), [(63, False, True), (64, False, False), (63, True, False)]
)
def test_a_limit_that_can_not_be_raised_is_told(
    given: int, may_raise: bool, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notes, "hard_open_files_limit", lambda _: given)
    monkeypatch.setattr(notes, "may_raise_limits", lambda: may_raise)
    told = (
        "services.llmhop.vllm.openFilesLimit: the models get 63, not 64: root may not raise "
        "limits on this host"
    )
    assert host_notes(config()) == [told] * is_told


def test_no_limit_is_noted_of_a_manager_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    down = UnitState.parse("ActiveState=inactive")
    monkeypatch.setattr(notes, "hard_open_files_limit", lambda _: 63)
    monkeypatch.setattr(notes, "may_raise_limits", lambda: False)
    assert host_notes(config()) != []
    monkeypatch.setattr(notes, "system_states", lambda units: dict.fromkeys(units, down))
    assert host_notes(config()) == []


MODEL = "services.llmhop.vllm.models.a"
GENERAL = "services.llmhop.vllm.modelSettings"
ENGINE = "localhost/engine"

Options = dict[str, Any]

GIVEN: list[tuple[Options, Options, str]] = [
    ({}, {"model": "PATH"}, f"{MODEL}.model"),
    ({}, {"model": "/x/..PATH/"}, f"{MODEL}.model"),
    ({}, {"settings": {"chat_template": "PATH"}}, f"{MODEL}.settings.chat_template"),
    ({}, {"settings": {"lora-modules": ["x=PATH"]}}, f"{MODEL}.settings.lora-modules"),
    ({"modelSettings": {"tokenizer": "PATH"}}, {}, f"{GENERAL}.tokenizer"),
]


def paths_noted(vllm: Options, **model: Any) -> list[str]:
    """The notes on a host of two models, and of one that is off and names a path of the host."""
    models = {
        "a": {"model": "m", "port": 18001, **model},
        "b": {"model": "m", "port": 18002},
        "off": {"model": "/etc/group", "port": 18003, "enable": False},
    }
    own = {"image": ENGINE, "openFilesLimit": 64, "models": models}
    return host_notes(parse({**MINIMAL, "vllm": {**MINIMAL["vllm"], **own, **vllm}}))


@pytest.mark.parametrize(("vllm", "model", "where"), GIVEN, ids=str)
def test_a_path_of_the_host_that_only_an_unknown_image_may_have_is_told(
    vllm: Options, model: Options, where: str
) -> None:
    def noted(path: str, **more: Any) -> list[str]:
        given = json.loads(json.dumps([vllm, model]).replace("PATH", path))
        return paths_noted({**given[0], **more}, **given[1])

    assert noted("/etc/passwd") == [
        f"{where}: has /etc/passwd, which is on this host and which no volume brings into the "
        f"container; where {ENGINE} does not have it, "
        'add "/etc/passwd:/etc/passwd:ro" to containerConfig.Volume'
    ]
    assert noted("/nowhere/model") == []
    assert noted("/etc/passwd", containerConfig={"Volume": "/etc/passwd:/etc/passwd:ro"}) == []


@pytest.mark.parametrize(
    "model",
    [
        {"settings": {"root-path": "/etc"}},
        {"model": "/usr"},
        {"model": "/tmp"},  # noqa: S108 - a name
        {"model": "org/model"},
    ],
    ids=str,
)
def test_what_every_image_has_and_what_is_no_path_is_not_noted(model: Options) -> None:
    assert paths_noted({}, **model) == []
