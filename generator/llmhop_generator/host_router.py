"""Findings about llmhop's own service: its group and its unit."""

from collections.abc import Iterator

from llmhop_generator.errors import GeneratorError, Problem, option_path
from llmhop_generator.host_user import HOW
from llmhop_generator.layout import ROUTER_UNIT
from llmhop_generator.router_service import router_group
from llmhop_generator.systemd import system_states


def service_findings() -> Iterator[Problem]:
    """Find what llmhop lacks to be given a configuration and started."""
    where = option_path(("llmhop", "enable"))
    try:
        router_group()
    except GeneratorError as error:
        yield Problem(where, str(error))
    if system_states([ROUTER_UNIT])[ROUTER_UNIT].load != "loaded":
        yield Problem(where, f"{ROUTER_UNIT} is not on this host, or masked; {HOW}")
