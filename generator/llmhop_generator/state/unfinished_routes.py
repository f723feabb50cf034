"""What a run leaves out of llmhop's configuration for a while, kept for a boot to give back.

A power cut ends a run before it gives llmhop every route, and no later run may follow. What is
kept counts for the very configurations that it was kept with: llmhop may have another by now.
It stays until a run comes to its end, as nothing else tells that one was cut off.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host import files
from llmhop_generator.layout import UNFINISHED_ROUTES

CUT_OFF = (
    "The last apply was cut off before its end, so that models may be stopped, run by earlier "
    "units or have no route; apply again to go on, or the earlier configuration to go back"
)
"""What is told of a host on which a run was yet to do something, and none is at work."""


@dataclass(frozen=True)
class Unfinished:
    """Routes that a run was yet to give.

    `given` are the configurations that llmhop may have by then, `router` is the one with every
    route, empty where there is to be no llmhop. `ports` are the wanted ones of the models of user
    `uid`, by file name. `restored` says that a boot has given llmhop the routes since.
    """

    given: Sequence[str]
    router: str
    uid: int
    ports: Mapping[str, int]
    restored: bool = False


def keep_unfinished(left: Unfinished) -> None:
    """Keep what a run has not done yet.

    Raises:
        GeneratorError: it can't be written.
    """
    files.write(UNFINISHED_ROUTES, json.dumps(asdict(left), indent=2) + "\n", mode=0o600)


def read_unfinished() -> Unfinished | None:
    """Read what a run has left undone; None where it has done all, or what is kept is damaged."""
    try:
        return Unfinished(**json.loads(files.read(UNFINISHED_ROUTES) or "null"))
    except (GeneratorError, ValueError, TypeError):
        return None


def discard_unfinished_routes() -> None:
    """Forget it, as it is done.

    Raises:
        GeneratorError: the file can't be removed.
    """
    files.remove(UNFINISHED_ROUTES)
