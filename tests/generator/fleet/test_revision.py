"""A flake reference at another revision, as Nix spells it (nix3-flake, "Flake references")."""

import pytest
from llmhop_generator.fleet.revision import (
    at_revision,
    directory_of,
    is_directory,
    of_repository,
)

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("flake", "revision", "spelled"),
    [
        ("github:o/r", "main", "github:o/r/main"),
        ("github:o/r/old", "v1", "github:o/r/v1"),
        ("github:o/r/old?dir=x", COMMIT, f"github:o/r/{COMMIT}?dir=x"),
        ("gitlab:o/r", "feature/x", "gitlab:o/r/feature%2Fx"),
        ("git+https://h/r", "main", "git+https://h/r?ref=main"),
        ("git+https://h/r?ref=x&dir=a/b", COMMIT, f"git+https://h/r?dir=a/b&rev={COMMIT}"),
        ("git+ssh://git@h/r?rev=" + COMMIT, "v1", "git+ssh://git@h/r?ref=v1"),
        ("nixpkgs", "main", None),
        ("https://h/r.tar.gz", "main", None),
    ],
)
def test_the_revision_stands_where_the_kind_of_reference_has_it(
    flake: str, revision: str, spelled: str | None
) -> None:
    assert at_revision(flake, revision) == spelled


@pytest.mark.parametrize(
    ("flake", "directory"),
    [(".", "."), ("./a", "./a"), ("/etc/nixos", "/etc/nixos"), ("path:/a?dir=b", "/a/b")],
)
def test_a_path_is_told_from_what_lies_elsewhere(flake: str, directory: str) -> None:
    assert is_directory(flake)
    assert directory_of(flake) == directory
    assert not is_directory("github:o/r")


def test_a_repositorys_path_is_quoted() -> None:
    assert of_repository("/a b/c", COMMIT, "") == f"git+file:///a%20b/c?rev={COMMIT}"
    assert of_repository("/r", COMMIT, "x/y") == f"git+file:///r?rev={COMMIT}&dir=x/y"
