"""The errors of the test host, named as in NixOS's test driver."""

from __future__ import annotations


class RequestedAssertionFailed(AssertionError):  # noqa: N818 - the name in NixOS's driver
    """What a scenario asked for did not hold: a command, a unit's state, a wait."""


class MachineError(RuntimeError):
    """The host itself failed: it could not be built, booted or reached."""
