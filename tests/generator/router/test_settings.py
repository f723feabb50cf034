"""What llmhop would refuse in its settings is refused by every command, each with its option."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from llmhop.config.config import Certificate
from llmhop.config.findings import ConfigError
from llmhop.config.parser import parse
from llmhop.config.secrets import expand_unread
from llmhop_generator.apply import fast_path
from llmhop_generator.cli import main as cli
from llmhop_generator.errors import Finding, GeneratorError, json_names, option_path
from llmhop_generator.fleet.evaluation import checked_result
from llmhop_generator.fleet.hosts import Failed
from llmhop_generator.fleet.nix import Record
from llmhop_generator.host import lock
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.tree import render
from llmhop_generator.router.check import Judge, judge_by, no_judge
from llmhop_generator.router.settings import has_route, settings_to_judge

from tests.generator.conftest import MINIMAL, Command
from tests.generator.support.faults import ALL, OF_KEYS, SCHEMA, URL, Fault, rounds, settings_with
from tests.module.nix import evaluate, needs_nix, vllm

ROUNDS = rounds()
SOME = range(0, len(ROUNDS), 7)
"""Rounds enough to see that one asks as the others do, where each takes its time."""
QWEN = '"qwen2-5-7b" = { model = "m"; port = 18001; };'
ROUTER = "llmhop.settings"


def router_problems(config: Mapping[str, Any]) -> list[Finding]:
    """Ask llmhop's own check, in this process."""
    try:
        parse(dict(config), expand_unread, lambda _certificate, _key: Certificate(b"", b""))
    except ConfigError as error:
        return [
            Finding.at(("llmhop", "settings", *each.path), f"{each.what}; {each.todo}")
            for each in error.findings
        ]
    return []


def with_settings(given: dict[str, Any]) -> dict[str, Any]:
    return {**deepcopy(MINIMAL), "llmhop": {"settings": given}}


def problems(config: Any, judge: Judge = router_problems) -> list[str]:
    try:
        parse_config(json.dumps(config).encode(), "config.json", judge)
    except GeneratorError as error:
        return list(map(str, error.findings))
    return []


def missing(faults: list[Fault], output: str, *, nixos: bool = True) -> list[str]:
    """The faults whose place is not told at the beginning of a line."""
    lines = [line.strip() for line in output.splitlines()]

    def is_told(fault: Fault) -> bool:
        option = option_path(("llmhop", "settings", *fault.path))
        return any(line.startswith(option if nixos else json_names(option)) for line in lines)

    return [fault.name for fault in faults if not is_told(fault)]


def test_a_model_that_is_llmhop_itself_is_told_also_where_no_setting_says_where_it_listens() -> (
    None
):
    models = {"g": {"url": "http://127.0.0.1:8080"}}

    (told,) = problems(with_settings({"models": models}))
    assert told.startswith("services.llmhop.settings.models.g.url: leads to llmhop itself")
    assert problems(with_settings({"models": models, "port": 9000})) == []
    assert problems(with_settings({"models": models, "listen": "127.0.0.1:1"})) == []


def test_there_is_a_fault_for_every_key() -> None:
    assert {path for path, faults in OF_KEYS.items() if len(faults) < 5} == set()
    assert {fault for each in ROUNDS for fault in map(str, each)} == set(map(str, ALL))


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_a_fault_is_told_at_its_place_and_not_by_two(fault: Fault) -> None:
    config = with_settings(settings_with(fault))
    found, own = problems(config), problems(config, no_judge)
    assert missing([fault], "\n".join(found)) == []
    for place in {line.partition(": ")[0] for line in own}:
        assert [line for line in found if line.startswith(f"{place}: ")] == [
            line for line in own if line.startswith(f"{place}: ")
        ]


@pytest.mark.parametrize("fault", ALL, ids=lambda fault: fault.name)
def test_what_the_generator_refuses_by_itself_llmhop_would_refuse(fault: Fault) -> None:
    config = with_settings(settings_with(fault))
    judged = settings_to_judge(config)
    assert judged is not None
    assert router_problems(judged) != []


# The commands that read a configuration; of each what it is given, and nothing that it changes.
COMMANDS: dict[str, tuple[str, ...]] = {
    "validate": (),
    "check": (),
    "diff": (),
    "apply": (),
    "provision": ("--dry-run",),
    "render": ("--output", "/proc/nowhere"),
}


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep commands from needing root or a lock; what they are given is refused before more."""
    monkeypatch.setattr(cli, "require_root", lambda *_: None)
    monkeypatch.setattr(lock, "locked", lambda *_: nullcontext())
    monkeypatch.setattr(fast_path, "is_up_to_date", lambda _data: False)


@pytest.mark.usefixtures("harmless")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("number", SOME)
def test_every_command_asks_llmhop_and_tells_all_at_once(
    command: str, number: int, config_file: Callable[[Any], Path]
) -> None:
    faults = ROUNDS[number]
    path = config_file(with_settings(settings_with(*faults)))
    done = CliRunner().invoke(cli.main, [command, str(path), *COMMANDS[command]])
    assert done.exit_code == 1
    assert missing(faults, done.stderr, nixos=False) == []


def test_every_command_that_reads_a_configuration_is_asked() -> None:
    reading = {
        name
        for name, command in cli.main.commands.items()
        if {parameter.name for parameter in command.params} & {"config", "flake"}
    }
    assert reading == {*COMMANDS, "eval"}


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_a_host_of_a_flake_fails_with_all_of_it(number: int) -> None:
    contract = with_settings(settings_with(*ROUNDS[number]))
    result = checked_result(Record("gpu1", {"contract": contract, "address": "a"}), router_problems)
    assert isinstance(result, Failed)
    assert missing(ROUNDS[number], result.error) == []


TEXT = {"type": ["string", "null"]}
TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}
BACKEND = {"type": "object", "properties": {"url": TEXT, "urls": TEXTS}}
LIMIT = {"type": ["integer", "null"], "minimum": 1}
CLIENT = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("tokens", "models", "paths"), TEXTS),
        **dict.fromkeys(("maxConcurrent", "requestsPerMinute", "tokensPerMinute"), LIMIT),
        "token": TEXT,
    },
}
TYPES = {
    "properties": {
        "listen": {"anyOf": [TEXT, TEXTS]},
        "host": TEXT,
        "port": {"type": ["integer", "null"], "minimum": 0, "maximum": 65535},
        "socketMode": TEXT,
        "authTokens": TEXTS,
        "clients": {"type": ["object", "null"], "additionalProperties": CLIENT},
        "models": {"type": "object", "additionalProperties": BACKEND},
    }
}
"""The types of module/options/settings.nix: what else is there, NixOS itself refuses."""


def of_right_type(faults: list[Fault]) -> list[Fault]:
    is_valid = Draft202012Validator(TYPES).is_valid
    return [fault for fault in faults if is_valid(settings_with(fault))]


@needs_nix
@pytest.mark.parametrize("faults", list(filter(None, map(of_right_type, ROUNDS)))[::7], ids=len)
def test_the_build_of_a_nixos_host_fails_with_all_of_it(
    faults: list[Fault], tmp_path: Path
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(settings_with(*faults)))
    module = f"{{ lib, ... }}: {{ services.llmhop.settings = lib.importJSON {path}; }}"
    # The module's own checks are not what it stumbles over.
    assert evaluate("failures", vllm(models=QWEN), module) == []
    build = evaluate("contractBuild", vllm(models=QWEN), module)
    (tmp_path / "contract").write_text(build["text"])
    set_by_nix = {key: value for key, value in build.items() if key.startswith("LLMHOP_OPTION")}
    paths = {"textPath": str(tmp_path / "contract"), "out": str(tmp_path / "o")}
    environment = {**os.environ, **set_by_nix, **paths}
    script = build["script"].replace("llmhop-generator", f"{sys.executable} -m llmhop_generator")
    done = subprocess.run(
        ["/bin/sh", "-ec", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert missing(faults, done.stderr) == []


GOOD: dict[str, list[Any]] = {
    "workers": [1, 2],
    "accessLog": ["off", "json"],
    "maxBodyBytes": [0, 1, 2**20],
    "maxConnections": [1],
    "drainTimeout": [0.5],
    "authTokens": [[], ["${file:a}", "b"]],
    "cors": [{"origins": []}, {"origins": ["https://app.example", "*"]}],
    "allowedHosts": [[], ["llm.example"]],
    "socketMode": ["0600"],
    "tls": [{"certificate": "a", "key": "b"}],
}
VALUES = {key: st.sampled_from([None, *values]) for key, values in GOOD.items()}
LISTEN = st.one_of(
    st.fixed_dictionaries({"listen": st.sampled_from([":80", ["[::1]:1", "unix:/run/s"], None])}),
    st.fixed_dictionaries(
        {},
        optional={"host": st.sampled_from(["", "::1", "h", None]), "port": st.integers(0, 65535)},
    ),
)
NAMES = st.sampled_from(["qwen2-5-7b", "off", "far.away", "other"])
BACKENDS: list[dict[str, Any]] = [
    *({}, {"url": URL}, {"url": None, "urls": [URL]}),
    *({"url": ""}, {"urls": []}, {"url": "localhost"}, {"url": URL, "urls": [URL]}),
]
ENTRY = st.builds(
    lambda backend, more: {**backend, **more},
    # Good ones mostly.
    st.sampled_from([*BACKENDS[:3] * 4, *BACKENDS[3:]]),
    st.fixed_dictionaries(
        {},
        optional={
            "headers": st.sampled_from([{}, {"A": "$B"}, None]),
            "aliases": st.lists(NAMES, max_size=2),
            "unlisted": st.booleans(),
            "connectTimeout": st.sampled_from([1, 2, 3, -1, None]),
        },
    ),
)
SETTINGS = st.builds(
    lambda top, listen, models: {**top, **listen, **models},
    st.fixed_dictionaries({}, optional=VALUES),
    LISTEN,
    st.fixed_dictionaries({}, optional={"models": st.none() | st.dictionaries(NAMES, ENTRY)}),
)
OFF = {"off": {"model": "m", "port": 18002, "enable": False}}


@settings(max_examples=300, deadline=None)
@given(SETTINGS, st.booleans())
def test_what_passes_is_taken_by_llmhop_as_it_is_rendered(given: Any, served: bool) -> None:
    config = with_settings(given)
    config["vllm"]["models"] |= OFF
    config["vllm"]["enable"] = served
    config["llmhop"]["enable"] = True
    try:
        parsed = parse_config(json.dumps(config).encode(), "config.json", router_problems)
    except GeneratorError as error:
        # And nothing is refused that llmhop would take, but for what it can't know.
        known = [each for each in map(str, error.findings) if "runs" in each or "serves" in each]
        judged = settings_to_judge(config)
        assert known or (judged is not None and router_problems(judged))
    else:
        text = render(parsed).router
        assert text is not None
        rendered = json.loads(text)
        assert router_problems(rendered) == []
        # Nothing is dropped in silence, but for what adds to a model that is off.
        asked = given.get("models") or {}
        local = {"off"} if served else {"off", "qwen2-5-7b"}
        dropped = asked.keys() - rendered["models"].keys()
        assert dropped <= {name for name in local if not has_route(asked.get(name))}


@pytest.mark.parametrize("served", [True, False])
def test_what_is_set_for_a_model_that_is_off_waits_for_it(served: bool) -> None:
    models = {"off": {"aliases": ["x"]}, "far": {"url": URL}}
    config = with_settings({"models": models})
    config["vllm"]["models"] |= OFF
    config["vllm"]["enable"] = served
    config["llmhop"]["enable"] = True
    assert problems(config) == []
    text = render(parse_config(json.dumps(config).encode(), "config.json")).router
    assert json.loads(text or "")["models"].keys() == {"far"} | (
        {"qwen2-5-7b"} if served else set()
    )
    for backend in BACKENDS[3:]:
        config["llmhop"]["settings"]["models"] = {**models, "off": backend}
        [problem] = problems(config)
        assert problem.startswith("services.llmhop.settings.models.off.url")


def test_null_stands_for_a_setting_that_is_not_given(config_file: Callable[[Any], Path]) -> None:
    nothing = dict.fromkeys(SCHEMA["properties"])
    assert problems(with_settings(nothing)) == []


def test_settings_of_an_llmhop_that_is_off_are_not_judged() -> None:
    fault = with_settings({"workers": "two"})
    assert problems(fault) != []
    assert problems({**fault, "llmhop": {**fault["llmhop"], "enable": False}}) == []


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (None, "can't be run"),
        ("echo 0.1; exit 2", "not understood"),
        ("echo '[]'", "not understood"),
    ],
)
def test_without_an_llmhop_to_ask_the_rest_is_checked_and_a_warning_says_so(
    script: str | None,
    why: str,
    generator: Command,
    config_file: Callable[[Any], Path],
    tmp_path: Path,
) -> None:
    command = tmp_path / "llmhop"
    if script is not None:
        command.write_text(f"#!/bin/sh\ncat >/dev/null\n{script}\n")
        command.chmod(0o755)
    path = config_file(with_settings({"workers": "two"}))
    done = generator("validate", path, "--llmhop", command)
    assert done.returncode == 0
    assert why in done.stderr
    assert str(command) in done.stderr


def test_the_same_settings_are_judged_once(tmp_path: Path) -> None:
    command, asked = tmp_path / "llmhop", tmp_path / "asked"
    script = f"#!/bin/sh\n(cat; echo) >>{asked}\n" + """echo '{"problems": []}'\n"""
    command.write_text(script)
    command.chmod(0o755)
    judge = judge_by(str(command))
    for number, listen in enumerate((None, ":80", ":80", ":81")):
        config = with_settings({} if listen is None else {"listen": listen})
        config["vllm"]["models"][f"model-{number}"] = {"model": "m", "port": 18002 + number}
        assert problems(config, judge) == []
    lines = asked.read_text().splitlines()
    assert [json.loads(line)["listen"] for line in lines] == [":80", ":81"]


def test_the_command_that_is_asked_is_the_one_beside_this_one(
    generator: Command, config_file: Callable[[Any], Path]
) -> None:
    done = generator("validate", config_file(with_settings({"workers": "two"})))
    assert done.returncode == 1
    assert f"{ROUTER}.workers: is not a whole number; write a number from 1 to 256" in done.stderr
