"""Header fields, each by its own grammar."""
