"""Which option each flag of vLLM and each added key of a unit comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Flag:
    """A flag of vLLM: its key in the settings, the option where that stands, and its words.

    A `default` is one that stands nowhere: `where` is the option that would replace it.
    """

    key: str
    where: str
    words: tuple[str, ...]
    default: bool = False


@dataclass(frozen=True)
class Command:
    """What a model is served with: its path or name, and its flags. `where` is its option."""

    model: str
    flags: tuple[Flag, ...]
    where: str


@dataclass(frozen=True)
class Added:
    """A key that a deployer adds to [Unit] or [Service] of a unit: its option, and its values."""

    where: str
    key: str
    values: tuple[str, ...]
