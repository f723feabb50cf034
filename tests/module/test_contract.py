"""The contract carries what the user wrote, under the documented names."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.module.nix import (
    CONFIGURATIONS,
    EXAMPLES,
    ROOT,
    NixError,
    canonical,
    evaluate,
    needs_nix,
    nix_instantiate,
    vllm,
)

pytestmark = needs_nix


def contract(*modules: str | Path, **arguments: str) -> Any:
    return evaluate("contract", *modules, **arguments)


@pytest.mark.parametrize("module", CONFIGURATIONS, ids=lambda path: path.stem)
def test_the_committed_contract_is_what_nix_gives(module: Path) -> None:
    committed = module.with_suffix(".json").read_text(encoding="utf-8")

    fresh = canonical(contract(module))

    assert committed == fresh, "run python3 -m tests.module.update_contracts and review the change"


def test_every_committed_contract_belongs_to_an_example_or_is_the_one_written_by_hand() -> None:
    modules = [path for path in CONFIGURATIONS if path.parent == EXAMPLES]
    contracts = {path.with_suffix(".json") for path in modules}
    assert set(EXAMPLES.glob("*.json")) == contracts | {EXAMPLES / "standalone.json"}


def test_contract_nix_prints_the_contract_of_one_module() -> None:
    printed = nix_instantiate(
        "--eval",
        "--strict",
        "--json",
        ROOT / "tests" / "module" / "contract.nix",
        "--arg",
        "module",
        EXAMPLES / "minimal.nix",
    )

    assert canonical(json.loads(printed)) == (EXAMPLES / "minimal.json").read_text("utf-8")


def test_the_contract_has_every_option_of_the_backend_and_nothing_else() -> None:
    documented = json.loads((ROOT / "tests" / "module" / "options.json").read_text("utf-8"))
    prefix = "services.llmhop.vllm."
    options = [option["name"].removeprefix(prefix) for option in documented]
    keys = ("unitConfig", "serviceConfig", "containerConfig")
    options += [*keys, *(f"models.<name>.{key}" for key in keys)]
    of_model = {name.removeprefix("models.<name>.") for name in options if "<name>" in name}
    of_vllm = {name for name in options if "<name>" not in name}

    written = contract(vllm())

    assert written.keys() == {"version", "llmhop", "vllm"}
    assert written["version"] == 1
    assert written["vllm"].keys() == of_vllm
    assert written["vllm"]["models"]["a"].keys() == of_model


@pytest.mark.parametrize("number", ["0.9", "0.95", "0.1", "1.5", "2", "100000"])
def test_a_number_stays_as_the_user_wrote_it(number: str) -> None:
    text = evaluate("contractText", vllm(f"modelSettings.n = {number};"))

    assert f'"modelSettings":{{"n":{number}}}' in text


def test_sets_lists_null_and_strings_in_settings_survive() -> None:
    written = contract(
        vllm("""
          modelSettings = {
            nested = { list = [ 1 "two" [ 3.5 ] { four = null; } ]; };
            json = builtins.toJSON { a = [ 1 2 ]; };
            size = "128K";
            off = null;
          };
        """)
    )

    assert written["vllm"]["modelSettings"] == {
        "nested": {"list": [1, "two", [3.5], {"four": None}]},
        "json": '{"a":[1,2]}',
        "size": "128K",
        "off": None,
    }


def test_keys_of_units_carry_what_the_user_wrote_and_lists_of_two_modules_together() -> None:
    one = vllm(
        """
          unitConfig.PartOf = "x.target";
          containerConfig = { GroupAdd = "keep-groups"; Volume = [ "/a:/a" ]; };
        """,
        """a = {
          model = "org/a";
          port = 18001;
          serviceConfig = { CPUWeight = 0.5; OOMScoreAdjust = -5; SendSIGHUP = true; };
        };""",
    )
    two = '{ services.llmhop.vllm.containerConfig.Volume = [ "/b:/b" ]; }'

    written = contract(one, two)["vllm"]

    assert written["unitConfig"] == {"PartOf": "x.target"}
    assert written["containerConfig"]["GroupAdd"] == "keep-groups"
    assert sorted(written["containerConfig"]["Volume"]) == ["/a:/a", "/b:/b"]
    assert written["models"]["a"]["serviceConfig"] == {
        "CPUWeight": 0.5,
        "OOMScoreAdjust": -5,
        "SendSIGHUP": True,
    }


def test_router_settings_carry_just_what_the_user_wrote() -> None:
    settings = """{ services.llmhop.settings = {
      listen = "[::1]:9000";
      models.remote = { url = "https://example.org/v1"; headers.X = "\\${file:/k}"; };
      future = { list = [ { a = 1; } ]; };
    }; }"""

    assert contract(vllm())["llmhop"] == {"enable": True, "settings": {}}
    assert contract(vllm(), settings)["llmhop"]["settings"] == {
        "listen": "[::1]:9000",
        "models": {"remote": {"url": "https://example.org/v1", "headers": {"X": "${file:/k}"}}},
        "future": {"list": [{"a": 1}]},
    }


def test_a_disabled_backend_needs_no_option_and_says_only_that_it_is_off() -> None:
    remote = """{ services.llmhop = {
      enable = true;
      settings.models.remote.url = "https://example.org";
    }; }"""

    assert contract(remote)["vllm"] == {"enable": False}


def test_disabled_models_stay_in_the_contract_as_disabled() -> None:
    fleet = contract(EXAMPLES / "fleet.nix")["vllm"]["models"]

    assert len(fleet) == 10
    assert sorted(name for name, model in fleet.items() if model["enable"]) == [
        "bge-m3",
        "qwen3.6-35b-a3b",
    ]


def test_models_defined_in_two_modules_are_merged() -> None:
    other = '{ services.llmhop.vllm.models.b = { model = "org/b"; port = 18002; }; }'

    assert contract(vllm(), other)["vllm"]["models"].keys() == {"a", "b"}


def test_a_file_given_as_a_nix_path_is_named_and_not_copied(tmp_path: Path) -> None:
    secret = tmp_path / "vllm.env"
    secret.write_text("HF_TOKEN=hf_secret\n", encoding="utf-8")
    directory = tmp_path / "cache"
    directory.mkdir()
    module = vllm(
        f"environmentFile = {secret}; cacheDir = {directory}; dataDir = {tmp_path}/home;",
        f'a = {{ model = "org/a"; port = 18001; environmentFile = {secret}; }};',
    )

    # Not gone through the assertions: no host may have its directories below /tmp.
    written = json.loads(evaluate("contractText", module))["vllm"]

    assert written["environmentFile"] == str(secret)
    assert written["models"]["a"]["environmentFile"] == str(secret)
    assert written["cacheDir"] == str(directory)
    assert written["dataDir"] == f"{tmp_path}/home"


def test_text_with_store_paths_keeps_its_context_so_that_nix_keeps_the_files() -> None:
    setting = 'modelSettings.chat-template = "${builtins.toFile "chat.jinja" "{{ x }}"}";'

    context = nix_instantiate(
        "--eval",
        "--strict",
        "--json",
        "--expr",
        f"""builtins.attrNames (builtins.getContext (import {ROOT}/tests/module/eval.nix {{
          modules = [ ({vllm(setting)}) ];
        }}).contractText)""",
    )

    assert [path.endswith("chat.jinja") for path in json.loads(context)] == [True]


def test_what_is_set_for_models_of_vllm_is_left_out_while_it_is_off() -> None:
    shown = contract(
        vllm(models='b = { name = "a"; model = "org/a"; port = 18001; };'),
        """{ lib, ... }: {
          services.llmhop.vllm.enable = lib.mkForce false;
          services.llmhop.enable = true;
          services.llmhop.settings.models = {
            a.aliases = [ "c" ];
            far.url = "http://far";
            nowhere.aliases = [ "d" ];
          };
        }""",
    )

    assert shown["llmhop"]["settings"]["models"].keys() == {"far", "nowhere"}


@pytest.mark.parametrize("value", ["x: x", "[ 1 (x: x) ]", "{ __functor = _: x: x; }"])
@pytest.mark.parametrize("attribute", ["contract", "contractText"])
def test_a_function_among_flags_is_refused_by_its_option(attribute: str, value: str) -> None:
    flags = f"a = 1; b.c = {value};"
    model = f'"qwen3.6" = {{ model = "m"; port = 18001; settings = {{ {flags} }}; }};'
    for module, path in (
        (vllm(f"modelSettings = {{ {flags} }};"), "vllm.modelSettings.b.c"),
        (vllm(models=model), 'vllm.models."qwen3.6".settings.b.c'),
    ):
        with pytest.raises(NixError) as caught:
            evaluate(attribute, module)
        assert f"services.llmhop.{path} is a function" in str(caught.value)


def test_what_nix_writes_as_a_string_is_a_string() -> None:
    """Packages, and sets that say how."""
    text = '{ type = "derivation"; outPath = "/nix/store/x-y"; f = x: x; }'
    shown = contract(vllm(f'modelSettings = {{ a = {text}; b = {{ __toString = _: "z"; }}; }};'))

    assert shown["vllm"]["modelSettings"] == {"a": "/nix/store/x-y", "b": "z"}
