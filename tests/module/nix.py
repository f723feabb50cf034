"""Runs Nix's evaluator on the module, for the tests of this directory."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
EVAL = ROOT / "tests" / "module" / "eval.nix"
EXAMPLES = ROOT / "examples"
SCENARIOS = ROOT / "tests" / "scenarios"
CONFIGURATIONS = sorted([*EXAMPLES.glob("*.nix"), *SCENARIOS.glob("*.nix")])
"""The NixOS modules whose contract is committed beside them, as <name>.json."""
V = "services.llmhop.vllm"
"""The path of the options that `vllm` sets."""


class NixError(Exception):
    """Evaluation failed; the text is what Nix wrote to stderr."""


def nix_instantiate(*args: str | Path) -> str:
    """Run nix-instantiate and give its output.

    Raises NixError where it fails.
    """
    command = ["nix-instantiate", *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NixError(done.stderr)
    return done.stdout


def evaluate_text(text: str) -> Any:
    """Evaluate Nix text. Raises NixError where the evaluation fails."""
    return json.loads(nix_instantiate("--eval", "--strict", "--json", "--expr", text))


def evaluate(attribute: str, *modules: str | Path, **arguments: str) -> Any:
    """Evaluate one attribute of eval.nix with the given modules.

    A module is the path of a file or Nix text. Arguments are Nix text too.
    Raises NixError where the evaluation fails.
    """
    listed = " ".join(f"({module})" for module in modules)
    passed = [item for name, text in arguments.items() for item in ("--arg", name, text)]
    output = nix_instantiate(
        "--eval",
        "--strict",
        "--json",
        EVAL,
        "--attr",
        attribute,
        "--arg",
        "modules",
        f"[ {listed} ]",
        *passed,
    )
    return json.loads(output)


def vllm(text: str = "", models: str | None = None) -> str:
    """Give a module with a working vLLM configuration and more lines of it."""
    models = 'a = { model = "org/a"; port = 18001; };' if models is None else models
    return f"""{{
      services.llmhop.vllm = {{
        enable = true;
        uid = 503;
        subUidStart = 300000;
        tag = "v0.11.0";
        models = {{ {models} }};
        {text}
      }};
    }}"""


def model(key: str, port: int, more: str = "") -> str:
    """Give the text of a model for `vllm`."""
    return f'"{key}" = {{ model = "org/x"; port = {port}; {more} }};'


def settings(text: str) -> str:
    """Give a module with settings of llmhop."""
    return f"{{ services.llmhop.settings = {{ {text} }}; }}"


class Refused(NamedTuple):
    """A configuration and what its one message must name."""

    modules: list[str]
    names: list[str]


def assert_one_message(case: Refused) -> None:
    """See that a configuration is refused by one message, which names what the case names."""
    failures = evaluate("failures", *case.modules)

    assert len(failures) == 1, failures
    assert [name for name in case.names if name not in failures[0]] == [], failures


def canonical(contract: Any) -> str:
    """Give the text of a contract as it is committed beside an example."""
    return json.dumps(contract, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _unavailable() -> str | None:
    if shutil.which("nix-instantiate") is None:
        return "nix-instantiate is not installed"
    try:
        nix_instantiate("--eval", "--expr", "(import <nixpkgs/lib>).version")
    except NixError as error:
        why = next(line for line in str(error).splitlines() if line.startswith("error:"))
        return f"no nixpkgs for Nix ({why}); add a channel or set NIX_PATH"
    return None


REASON = _unavailable()
needs_nix = pytest.mark.skipif(REASON is not None, reason=str(REASON))
