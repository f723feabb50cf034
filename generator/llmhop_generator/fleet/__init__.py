"""The hosts of a flake."""
