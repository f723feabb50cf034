"""The errors of every command: a title, and findings with the place of each."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Path = tuple[str | int, ...]
"""A place in the contract: keys and list indices from the top."""

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_'-]*")


def option_path(path: Sequence[str | int]) -> str:
    """Spell a place in the contract as the NixOS option it comes from.

    `("vllm", "models", "qwen3.6", "port")` becomes
    `services.llmhop.vllm.models."qwen3.6".port`. Keys outside of the two
    option trees, such as `version`, stay as they are.
    """
    if not path:
        return "the configuration"
    keys = list(path)
    if keys[0] == "vllm":
        keys[:0] = ["services", "llmhop"]
    elif keys[0] == "llmhop":
        keys[:0] = ["services"]
    text = ""
    for key in keys:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            shown = key if _PLAIN_KEY.fullmatch(key) else '"' + key.translate(_ESCAPES) + '"'
            text += f".{shown}" if text else shown
    return text


_NIXOS_NAME = re.compile(r"(?<![\w.-])services\.(?:llmhop\.(?=vllm\b)|(?=llmhop\b))")


def json_names(text: str) -> str:
    """Spell the options in a text as they stand in JSON: `vllm.tag`, `llmhop.settings.listen`."""
    return _NIXOS_NAME.sub("", text)


_ESCAPES = {
    ord('"'): '\\"',
    ord("\\"): "\\\\",
    ord("\n"): "\\n",
    ord("\r"): "\\r",
    ord("\t"): "\\t",
}


@dataclass(frozen=True, order=True)
class Finding:
    """What is wrong in one place, and what to do about it.

    `path` is the place in the contract that `where` spells, where it is one.
    """

    where: str
    what: str
    path: Path = field(default=(), compare=False, repr=False)

    @classmethod
    def at(cls, path: Path, what: str) -> "Finding":
        """Find something wrong with an option."""
        return cls(option_path(path), what, path)

    @property
    def fields(self) -> dict[str, str]:
        """The finding as JSON has it."""
        return {"where": self.where, "what": self.what}

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class GeneratorError(Exception):
    """Anything that ends a command; it carries every finding.

    `title` is the line above the findings: what could not be done.
    """

    def __init__(self, title: str, findings: Iterable[Finding] = ()) -> None:
        self.title = title
        self.findings = tuple(findings)
        super().__init__(title)

    def __str__(self) -> str:
        return "\n".join([self.title, *(f"  {finding}" for finding in self.findings)])
