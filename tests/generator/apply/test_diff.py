"""What `diff` tells of a host."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from llmhop_generator.apply.run import apply, plan_for
from llmhop_generator.parse.load import parse_config
from llmhop_generator.planning.plan_text import lines

from tests.generator.conftest import MINIMAL
from tests.generator.support.simulated_host import SimulatedHost


def test_with_the_users_manager_down_no_image_is_told_as_missing(simulated: SimulatedHost) -> None:
    simulated.down = {"user@503.service"}
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "image": "localhost/i"}
    read = parse_config(json.dumps({**MINIMAL, "vllm": vllm}).encode(), "config.json")
    told = lines(plan_for(read))
    assert ("start", "user@503.service", "the user's manager is down") in told
    assert not [line for line in told if line[0] == "pull"]
    simulated.down = set()
    assert ("pull", "localhost/i:v0.11.0", "it is missing") in lines(plan_for(read))


def configuration(**models: Any) -> bytes:
    vllm = {**MINIMAL["vllm"], "openFilesLimit": 64, "image": "localhost/i"}
    vllm["models"] = {
        name: {"model": "m", "port": port, **model}
        for port, (name, model) in enumerate(models.items(), 18001)
    }
    return json.dumps({**MINIMAL, "vllm": vllm}).encode()


def bring(data: bytes, told: Callable[[str], None] = lambda _: None) -> None:
    apply(parse_config(data, "config.json"), told, lambda _: None, wait=True)


PRESENT = configuration(a={}, b={}, c={"enable": False})
HOW_MODELS_ARE = ("a: ", "b: ", "c: ", "note: ")
CHANGES = [
    PRESENT,
    configuration(a={}, b={"settings": {"seed": 1}}),
    configuration(b={}, a={}),
    configuration(a={}),
    configuration(a={}, b={}, c={}),
    configuration(a={"devices": ["/dev/gpu0"]}, b={"devices": ["/dev/gpu1"]}, c={}),
]


@pytest.mark.parametrize("is_up", [True, False])
@pytest.mark.parametrize("data", CHANGES, ids=range(len(CHANGES)))
def test_what_diff_tells_is_what_apply_does(
    data: bytes, is_up: bool, simulated: SimulatedHost
) -> None:
    simulated.images.add("localhost/i:v0.11.0")
    bring(PRESENT)
    if not is_up:
        simulated.stop_manager()
    planned = lines(plan_for(parse_config(data, "config.json")))
    told: list[str] = []
    bring(data, told.append)
    steps = [f"{what} {target}" + (f": {why}" if why else "") for what, target, why in planned]
    assert [line for line in told if not line.startswith(HOW_MODELS_ARE)] == (
        steps or ["nothing to do"]
    )
    assert lines(plan_for(parse_config(data, "config.json"))) == []
