"""The start order that units have among one another, read anew for tests."""

import re
from collections.abc import Mapping


def after_in(source: str) -> set[str]:
    """The units that a unit starts after."""
    found = re.findall(r"^After=(.+)$", source, re.MULTILINE)
    return {word for line in found for word in line.split()}


def without_order(source: str) -> str:
    """A unit without its place in the start order, which is nothing to one that runs."""
    return re.sub(r"^After=.*\n", "", source, flags=re.MULTILINE)


def has_cycle(before: Mapping[str, set[str]]) -> bool:
    """Whether what stands before what can't be brought into an order."""
    left = {name: others & before.keys() for name, others in before.items()}
    while left:
        ready = {name for name, others in left.items() if not others & left.keys()}
        if not ready:
            return True
        left = {name: others for name, others in left.items() if name not in ready}
    return False
