"""A flake at another revision."""

import re
from urllib.parse import parse_qsl, quote, urlencode

_HASH = re.compile(r"[0-9a-f]{40}")
_FORGE = re.compile(r"(github|gitlab|sourcehut):[^/?]+/[^/?]+")


def is_directory(flake: str) -> bool:
    """Whether a flake reference is the path of a directory, as Nix tells them apart."""
    return flake.startswith(("path:", ".", "/"))


def directory_of(flake: str) -> str:
    """Give the directory of flake.nix that a path refers to."""
    path, _, query = flake.removeprefix("path:").partition("?")
    below = dict(parse_qsl(query)).get("dir")
    return f"{path}/{below}" if below else path


def of_repository(top: str, commit: str, below: str) -> str:
    """Refer to a commit of the git repository at `top`, and to a directory in it."""
    query = {"rev": commit} | ({"dir": below} if below else {})
    return f"git+file://{quote(top)}?{urlencode(query, safe='/')}"


def at_revision(flake: str, revision: str) -> str | None:
    """Give a flake elsewhere at a revision: a commit, a branch or a tag.

    None where it is not known how the reference names a revision.
    """
    reference, _, query = flake.partition("?")
    kept = {key: value for key, value in parse_qsl(query) if key not in ("rev", "ref", "narHash")}
    if found := _FORGE.match(reference):
        reference = f"{found[0]}/{quote(revision, safe='')}"
    elif reference.startswith("git+"):
        kept["rev" if _HASH.fullmatch(revision) else "ref"] = revision
    else:
        return None
    return f"{reference}?{urlencode(kept, safe='/')}" if kept else reference
