"""What `diff` tells of a host."""

import json

from llmhop_generator.apply.run import plan_for
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
