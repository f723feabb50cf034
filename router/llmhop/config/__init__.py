"""The configuration: read, checked, its secrets resolved."""
