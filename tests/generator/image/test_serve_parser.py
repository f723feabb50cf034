"""Flags are read by the parser of the image itself, and what it refuses is told by its option.

The parser is that of the stand-in engine here; tests/host asks images, the real vLLM's too.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.apply import executor as carry_out
from llmhop_generator.contract.options import Vllm
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.host.process import Account, Finished
from llmhop_generator.host.systemd import UnitState
from llmhop_generator.image import flag_check, refusals
from llmhop_generator.image.flag_check import check_flags, refused
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.planner import make_plan
from llmhop_generator.planning.steps import Ask, Present, Pull, Stage, Wanted
from llmhop_generator.render.model_unit import serve_commands
from llmhop_generator.render.provenance import Command, Flag

from tests.generator.support.plans import UID, A, B, present, source
from tests.images.standin import serve

ACCOUNT = Account(UID, UID)
IMAGE = "localhost/i:1"
OWN = "services.llmhop.vllm.models.a.settings"


def command(*words: str, model: str = "m/a") -> Command:
    keys = [word.removeprefix("--").partition("=")[0] for word in words]
    flags = [Flag(key, f"{OWN}.{key}", (word,)) for key, word in zip(keys, words, strict=True)]
    return Command(model, tuple(flags), OWN)


Ask_ = Callable[..., list[str]]


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Where the Python of an image finds its packages; there is a vLLM among them."""
    place = tmp_path / "vllm/entrypoints/cli/serve.py"
    place.parent.mkdir(parents=True)
    shutil.copy(Path(serve.__file__), place)
    return tmp_path


@pytest.fixture
def ask(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Ask_:
    def run_python(account: Account, image: str, source: str, limit_s: int) -> Finished:
        done = subprocess.run(
            [sys.executable, "-"],
            input=source,
            env={**os.environ, "PYTHONPATH": str(packages)},
            cwd=packages,
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    monkeypatch.setattr(flag_check, "run_python", run_python)
    return lambda *commands: list(map(str, refused(ACCOUNT, IMAGE, commands)))


def test_what_the_parser_takes_is_not_told(ask: Ask_) -> None:
    fine = ["--max-model-len=128", "--dtype=auto", '--other={"a": "\\u2028\U0001f600\'"}']
    assert ask(command(*fine), command()) == []


def test_a_mistyped_flag_is_told_by_its_option_with_the_nearest(ask: Ask_) -> None:
    told = ask(command("--dtype=auto", "--max-model-length=128"))
    assert told == [
        f"{OWN}.max-model-length: vLLM in {IMAGE} has no such flag; the nearest is max-model-len"
    ]


def test_every_refused_flag_of_every_model_is_told(ask: Ask_) -> None:
    told = ask(
        command("--dtype=bf17", "--max-model-length=1", "--max-model-len=many"),
        command(),
        command("--enable-auto-tool-choices"),
    )
    assert [line.partition(": ")[0].rpartition(".")[2] for line in told] == [
        "dtype",
        "max-model-length",
        "max-model-len",
        "enable-auto-tool-choices",
    ]
    assert told[0].partition(": ")[2].startswith(f"vLLM in {IMAGE} refuses it: invalid choice")
    assert told[2].endswith("refuses it: invalid tokens value: 'many'")


def test_a_refused_default_is_told_as_one_with_the_option_that_takes_it_away(ask: Ask_) -> None:
    default = Flag("dtype", f"{OWN}.dtype", ("--dtype=bf17",), default=True)
    assert ask(Command("m/a", (default,), OWN)) == [
        f"{OWN}.dtype: vLLM in {IMAGE} refuses --dtype=bf17, "
        "which is a default for its tag; set the option to null"
    ]


def test_flags_that_do_not_go_together_are_told_by_the_model(ask: Ask_) -> None:
    assert ask(command("--enable-auto-tool-choice")) == [
        f"{OWN}: vLLM in {IMAGE} refuses them: "
        "Error: --enable-auto-tool-choice requires --tool-call-parser"
    ]


def test_where_one_flag_is_wrong_the_others_are_not_told_for_being_alone(ask: Ask_) -> None:
    words = ["--enable-auto-tool-choice", "--tool-call-parser=x", "--dtype=bf17"]
    assert [line.split(":")[0] for line in ask(command(*words))] == [f"{OWN}.dtype"]


def test_what_else_is_printed_does_not_matter(ask: Ask_, packages: Path) -> None:
    place = packages / "vllm/entrypoints/cli/serve.py"
    noisy = "import os\nprint('WARNING: no GPU')\nos.system('echo from a child')\n"
    place.write_text(place.read_text().replace("import argparse", f"import argparse\n{noisy}", 1))
    assert ask(command("--dtype=auto")) == []


@pytest.mark.parametrize(
    ("without", "said"),
    [
        ("vllm", "ModuleNotFoundError: No module named 'vllm'"),
        ("vllm/entrypoints/cli", "ModuleNotFoundError: No module named 'vllm.entrypoints.cli'"),
    ],
)
def test_an_image_without_that_parser_can_not_be_asked(
    ask: Ask_, packages: Path, without: str, said: str
) -> None:
    shutil.rmtree(packages / without)
    with pytest.raises(GeneratorError, match=said):
        ask(command("--dtype=auto"))


@pytest.mark.parametrize(
    "done",
    [
        Finished(255, "", ""),
        Finished(127, "", "Error: crun: executable file `sh` not found in $PATH\n"),
        Finished(0, "", ""),
        Finished(0, "[]", ""),
        Finished(0, '{"flags": [], "commands": []}', ""),
        Finished(0, '{"flags": [], "commands": [{"whole": "x", "single": []}]}', ""),
        Finished(0, '{"flags": [], "commands": [{"whole": 1, "single": [2]}]}', ""),
    ],
)
def test_what_is_no_answer_is_none(done: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flag_check, "run_python", lambda *_: done)
    with pytest.raises(GeneratorError):
        refused(ACCOUNT, IMAGE, [command("--dtype=auto")])


OTHER = "localhost/other:1"


def run(monkeypatch: pytest.MonkeyPatch, answer: Callable[..., list[Finding]]) -> list[str]:
    monkeypatch.setattr(carry_out, "account_of", lambda uid: ACCOUNT)
    monkeypatch.setattr(flag_check, "refused", answer)
    step = Ask(UID, {IMAGE: {A: command("--dtype=bf17")}, OTHER: {B: command("--x=1")}})
    told: list[str] = []
    carry_out.Executor(replace(make_plan(Wanted(), Present()), steps=(step,)), told.append).take(
        step
    )
    return told


def test_a_refusal_ends_a_run_and_tells_of_every_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_account: Account, image: str, commands: Sequence[Command]) -> list[Finding]:
        return [Finding(each.flags[0].where, f"is refused by {image}") for each in commands]

    with pytest.raises(GeneratorError, match="nothing was changed") as raised:
        run(monkeypatch, answer)
    assert str(raised.value).splitlines()[1:] == [
        f"  {OWN}.dtype: is refused by {IMAGE}",
        f"  {OWN}.x: is refused by {OTHER}",
    ]


def test_a_run_goes_on_where_an_image_can_not_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(_account: Account, image: str, _commands: object) -> list[Finding]:
        if image == OTHER:
            return []
        raise GeneratorError("no vLLM there")

    assert run(monkeypatch, answer) == [
        f"ask {IMAGE}: whether its vLLM takes the flags of a",
        f"ask {OTHER}: whether its vLLM takes the flags of b",
        f"note: {IMAGE} can't be asked, so its flags are not checked: no vLLM there",
    ]


def wanted(sources: dict[str, str], **commands: Command) -> Wanted:
    named = {f"vllm-{model}.container": each for model, each in commands.items()}
    return Wanted(uid=UID, sources=sources, commands=named)


def asked(to: Wanted, host: Present) -> list[tuple[str, list[str]]]:
    steps = make_plan(to, host).steps
    found = [step for step in steps if isinstance(step, Ask)]
    assert len(found) <= 1
    for step in found:
        assert all(isinstance(each, Pull) for each in steps[: steps.index(step)]), steps
    return [(image, list(names)) for step in found for image, names in step.commands.items()]


def with_flags(words: str, **options: Any) -> str:
    return source(f"Exec=serve m {words}", **options)


def test_only_models_that_are_started_in_another_way_are_asked_for() -> None:
    old, new, flag = with_flags("--x"), with_flags("--y"), command("--y")
    host = present({A: old, B: old})
    assert asked(wanted({A: new, B: old}, a=flag, b=flag), host) == [(IMAGE, [A])]
    assert asked(wanted({A: old, B: old}, a=flag, b=flag), host) == []
    other = old.replace("[Container]", "[Unit]\nAfter=x\n[Container]\nEnvironment=A=1")
    assert asked(wanted({A: other, B: old}, a=flag, b=flag), host) == []
    assert asked(wanted({A: new, B: old}, b=flag), host) == []
    assert asked(wanted({A: new, B: old}, a=command(), b=flag), host) == []


def test_an_image_is_asked_once_and_after_it_was_pulled() -> None:
    flag, later = command("--y"), with_flags("--y", image="r/i:2")
    host = present({A: with_flags("--y"), B: with_flags("--y")})
    to = wanted({A: later, B: later}, a=flag, b=flag)
    assert asked(to, host) == [("r/i:2", [A, B])]
    steps = make_plan(to, host).steps
    kinds = [type(step) for step in steps if isinstance(step, Pull | Ask | Stage)]
    assert kinds == [Pull, Ask, Stage]


def test_the_question_has_what_the_parser_needs_and_no_more() -> None:
    asked = json.loads(refusals.question([command("--a=1", "--b", model="m/x")]))
    assert asked == [["m/x", [["--a=1"], ["--b"]]]]


def commands(minimal: dict[str, Any], **options: Any) -> dict[str, Command]:
    minimal["vllm"] |= options
    vllm = parse_config(json.dumps(minimal).encode(), "test").vllm
    assert isinstance(vllm, Vllm)
    return serve_commands(vllm)


def test_each_flag_is_known_by_the_option_that_sets_it(minimal: dict[str, Any]) -> None:
    minimal["vllm"]["models"]["qwen2-5-7b"]["settings"] = {"a_b": 1, "list": ["x", "y"], "n": None}
    found = commands(minimal, modelSettings={"a-b": 2, "seed": 3, "config": "c.yaml"})
    own = "services.llmhop.vllm.models.qwen2-5-7b.settings"
    assert found == {
        "vllm-qwen2-5-7b.container": Command(
            "Qwen/Qwen2.5-7B-Instruct",
            (
                Flag("seed", "services.llmhop.vllm.modelSettings.seed", ("--seed=3",)),
                Flag("a_b", f"{own}.a_b", ("--a_b=1",)),
                Flag("list", f"{own}.list", ("--list", "x", "y")),
            ),
            own,
        )
    }


def test_a_default_is_known_as_one_until_it_is_set(minimal: dict[str, Any]) -> None:
    own_image = {"image": "docker.io/vllm/vllm-openai", "tag": "v0.18.0"}

    def drain(**model_settings: Any) -> list[Flag]:
        (found,) = commands(minimal, **own_image, modelSettings=model_settings).values()
        return [flag for flag in found.flags if flag.key.startswith("shutdown")]

    where = "services.llmhop.vllm.modelSettings.shutdown"
    assert drain() == [
        Flag("shutdown-timeout", f"{where}-timeout", ("--shutdown-timeout=20",), True)
    ]
    assert drain(shutdown_timeout=5) == [
        Flag("shutdown_timeout", f"{where}_timeout", ("--shutdown_timeout=5",))
    ]
    assert drain(**{"shutdown-timeout": None}) == []


def test_what_is_started_in_a_deployers_own_way_is_not_asked_for(
    minimal: dict[str, Any],
) -> None:
    assert commands(minimal, containerConfig={"Entrypoint": "own"}) == {}


def test_check_asks_the_images_that_are_here(
    ask: Ask_, minimal: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def checked(**models: dict[str, Any]) -> list[str]:
        minimal["vllm"]["models"] = {
            name: {"model": "m", "port": port, **model}
            for port, (name, model) in enumerate(models.items(), start=18001)
        }
        vllm = parse_config(json.dumps(minimal).encode(), "test").vllm
        assert isinstance(vllm, Vllm)
        told: list[str] = []
        check_flags(vllm, told.append)
        return told

    manager = UnitState.parse("ActiveState=active")
    monkeypatch.setattr(flag_check, "account_of", lambda uid: ACCOUNT)
    monkeypatch.setattr(flag_check, "has_image", lambda _, image: image.endswith(":here"))
    monkeypatch.setattr(flag_check, "system_states", lambda units: dict.fromkeys(units, manager))
    here, away = {"tag": "here"}, {"tag": "away", "settings": {"max-model-length": 1}}
    fine = {"settings": {"dtype": "auto"}, **here}
    image = "docker.io/vllm/vllm-openai:here"
    assert checked(a=fine, b=away, c=here) == [
        f"asking {image} whether its vLLM takes the flags of a"
    ]
    with pytest.raises(GeneratorError, match=r"b\.settings\.max-model-length"):
        checked(a=fine, b={**away, **here})
    manager = UnitState.parse("ActiveState=inactive")
    assert checked(a=fine, b={**away, **here}) == []
