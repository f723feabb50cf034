"""What the pages are made of: headings and their anchors, links, blocks of code."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "docs"
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part == "build" for part in path.relative_to(ROOT).parts)
)
"""Every page of the tree, those of the book included."""

REPOSITORY = "https://github.com/llmhop/llmhop/blob/main/"
"""How a page of the book names a file outside of it."""

_FENCED = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code: where it stands, its language, its text without the indentation."""

    page: Path
    language: str
    text: str

    def __str__(self) -> str:
        first = next((line for line in self.text.splitlines() if line.strip()), "")
        return f"{self.page.relative_to(ROOT)}: {first.strip()[:40]}"


def blocks(page: Path) -> list[Block]:
    """Give the fenced blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, language, re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))
        for indent, language, body in _FENCED.findall(text)
    ]


def prose(text: str) -> str:
    """Give a page without its blocks of code."""
    return _FENCED.sub("", text)


def links(page: Path) -> list[str]:
    """Give the targets of a page's links and pictures."""
    text = prose(page.read_text(encoding="utf-8"))
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> list[str]:
    """Give the anchors of a page's headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ +(.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE):
        name = anchor(re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading))
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return found


def anchor(heading: str) -> str:
    """Give the anchor that mdBook and GitHub make from a heading."""
    kept = re.sub(r"[^\w\s-]", "", heading.strip().lower())
    return re.sub(r"\s", "-", kept)


def code(text: str) -> str:
    """Write text as code within a line.

    Raises ValueError where the text has a backtick, which would end it.
    """
    if "`" in text or "\n" in text:
        raise ValueError(f"not for a line of Markdown: {text!r}")
    return f"`{text}`"


def field(label: str, value: str, language: str) -> str:
    """Write a value behind its label as an item of a list; several lines become a block."""
    if "\n" not in value:
        return f"- {label}: {code(value)}"
    body = "\n".join(f"  {line}".rstrip() for line in value.splitlines())
    return f"- {label}:\n\n  ```{language}\n{body}\n  ```\n"
