"""Each example is whole: what it says, the secrets that it names, the units that it becomes."""

import json
import re
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from llmhop_generator.contract.options import Vllm
from llmhop_generator.parse.load import parse_config
from llmhop_generator.render.tree import render

from tests.module.nix import EXAMPLES, NixError, evaluate, needs_nix

MODULES = sorted(EXAMPLES.glob("*.nix"))
CONTRACTS = sorted(EXAMPLES.glob("*.json"))
WITH_SECRETS = {"secrets-sops": ("sops", "secrets"), "secrets-agenix": ("age", "secrets")}


def name(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_an_example_opens_with_for_whom_it_is(module: Path) -> None:
    lines = module.read_text(encoding="utf-8").splitlines()
    opening = list(takewhile(lambda line: line.startswith("#"), lines))
    assert opening[0].startswith("# For ")
    assert 2 <= len(opening) <= 4


def test_the_list_of_examples_names_each_of_them() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    table = page.split("| example | for |")[1].split("\n\n")[0]
    listed = set(re.findall(r"\]\(([^)]+)\)", table))
    assert listed == {path.name for path in MODULES} | {"standalone.json"}


@pytest.mark.parametrize("contract", CONTRACTS, ids=name)
def test_an_example_becomes_a_unit_for_each_enabled_model(contract: Path) -> None:
    config = parse_config(contract.read_bytes(), contract.name)
    assert isinstance(config.vllm, Vllm)
    expected = {f"vllm-{model.name}.container" for model in config.vllm.enabled_models}
    assert expected
    assert set(render(config).quadlets) == expected


def test_the_groups_that_may_open_amd_gpus_reach_the_container() -> None:
    config = parse_config((EXAMPLES / "amd.json").read_bytes(), "amd.json")
    unit = render(config).quadlets["vllm-qwen3-8b.container"].splitlines()
    assert {"AddDevice=/dev/kfd", "AddDevice=/dev/dri", "GroupAdd=keep-groups"} <= set(unit)


@pytest.mark.parametrize("contract", CONTRACTS, ids=name)
def test_secrets_of_an_example_are_named_and_not_written(contract: Path) -> None:
    settings = json.loads(contract.read_text(encoding="utf-8"))["llmhop"]["settings"]
    secrets = list(settings.get("authTokens", []))
    for model in settings.get("models", {}).values():
        secrets += model.get("headers", {}).values()
    assert all(re.search(r"\$\{(env|file):[\w-]+\}$", secret) for secret in secrets)


@needs_nix
@pytest.mark.parametrize("example", ["remote", *WITH_SECRETS])
def test_each_secret_of_llmhop_is_a_credential_of_its_service(example: str) -> None:
    module = EXAMPLES / f"{example}.nix"
    settings = json.dumps(evaluate("config.services.llmhop.settings", module))
    service = evaluate("config.systemd.services.llmhop.serviceConfig", module)
    loaded = dict(line.split(":") for line in service["LoadCredential"])
    assert set(re.findall(r"\$\{file:([^}]+)\}", settings)) == loaded.keys()
    if example in WITH_SECRETS:
        manager, secrets = WITH_SECRETS[example]
        declared = evaluate(f"config.{manager}.{secrets}", module)
        assert set(loaded.values()) <= {secret["path"] for secret in declared.values()}


@needs_nix
@pytest.mark.parametrize(
    ("example", "files"),
    [("secrets-sops", "config.sops.templates"), ("secrets-agenix", "config.age.secrets")],
)
def test_the_environment_file_is_one_that_the_containers_user_reads(
    example: str, files: str
) -> None:
    module = EXAMPLES / f"{example}.nix"
    backend = evaluate("contract", module)["vllm"]
    declared: dict[str, Any] = {
        file["path"]: file["owner"] for file in evaluate(files, module).values()
    }
    assert declared[backend["environmentFile"]] == backend["user"]


@needs_nix
@pytest.mark.parametrize(
    "wrong",
    [
        "sops.secrets.a.owner = 503;",
        "sops.secrets.a.restartUnit = [ ];",
        'age.secrets.a.file = "a.age";',
        'age.secrets.a.restartUnits = [ "a" ];',
    ],
)
def test_what_sops_nix_or_agenix_would_refuse_is_refused_here(wrong: str) -> None:
    manager = wrong.split(".", 1)[0]
    with pytest.raises(NixError, match=f"option .{manager}.secrets.a"):
        evaluate(f"config.{manager}.secrets", f"{{ {wrong} }}")
