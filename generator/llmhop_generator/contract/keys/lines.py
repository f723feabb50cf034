"""What counts of the lines of a key."""

from collections.abc import Sequence

from llmhop_generator.contract.keys.arguments import split_words
from llmhop_generator.contract.keys.rule import Rule
from llmhop_generator.contract.text import effective_lines


def judged(rule: Rule, items: Sequence[str]) -> list[str]:
    """The texts of a key's lines that a rule is for: the last one, all, or the words of all."""
    if rule.words:
        return words_of(items)
    return values_of(items, several=rule.several)


def words_of(items: Sequence[str]) -> list[str]:
    """The words of the lines, as Podman splits them."""
    lines = effective_lines([text.strip() for text in items])
    return [word for line in lines.values() for word in split_words(line)]


def values_of(items: Sequence[str], *, several: bool = True) -> list[str]:
    """The lines as they stand, of which the last one alone counts where a key takes one value."""
    texts = [text.strip().strip('"') for text in items]
    if not several:
        return texts[-1:]
    return [*effective_lines(texts).values()]


def joined(items: Sequence[str]) -> str:
    """All lines as one."""
    return " ".join(values_of(items))
