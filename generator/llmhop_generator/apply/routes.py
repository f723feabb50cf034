"""Gives llmhop, at boot, the routes that a run of `apply` was cut off before giving.

On NixOS the service that applies at boot does, as every whole run does.
"""

from collections.abc import Callable
from dataclasses import replace

from llmhop_generator.host import files
from llmhop_generator.layout import ROUTER_CONFIG
from llmhop_generator.planning.batches import reached_at
from llmhop_generator.planning.steps import Wanted
from llmhop_generator.router.routes import Routing, route_names
from llmhop_generator.state.present import read_models
from llmhop_generator.state.router_service import offer_config
from llmhop_generator.state.unfinished_routes import (
    discard_unfinished_routes,
    keep_unfinished,
    read_unfinished,
)
from llmhop_generator.unit_names import model_of


def restore_routes(report: Callable[[str], None]) -> None:
    """Give llmhop each route, to the port at which its model is or will be.

    Raises:
        GeneratorError: a unit can't be read, or llmhop's configuration can't be written.
    """
    left, present = read_unfinished(), files.read(ROUTER_CONFIG)
    if left is None:
        discard_unfinished_routes()  # it may be damaged
        report("nothing to do")
        return
    if left.restored or not left.router or present not in left.given:
        report("nothing to do")
        return
    wanted = Wanted(left.uid, dict.fromkeys(left.ports, ""), left.router)
    ports = {**left.ports, **reached_at(wanted, read_models(wanted))}
    text = Routing({model_of(name): port for name, port in ports.items()}).config(left.router)
    if text != present:
        come = route_names(text) - route_names(present)
        report(f"route llmhop: with {', '.join(sorted(come)) or 'other ports'}")
        offer_config(text)
    keep_unfinished(replace(left, restored=True))
