"""Renders one JSON file to rootless Podman Quadlet units, and brings a host to that state."""

__version__ = "0.1.0"
