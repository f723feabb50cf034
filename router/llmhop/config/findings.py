"""What is wrong with a config: each finding, and the error that tells of all of them."""

from __future__ import annotations

import msgspec

from llmhop.log.printable import one_line


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong with a config: where, what, and what to do about it.

    `path` are the keys and indices that lead there from the top of the config, for programs;
    it is empty for the whole of it, and for what does not stand in it.
    """

    where: str
    what: str
    todo: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}; {self.todo}")


class ConfigError(Exception):
    """A config that can't be used, with everything that was found wrong in it."""

    def __init__(self, findings: list[Finding]) -> None:
        super().__init__("\n".join(map(str, findings)))
        self.findings = findings
