"""From one JSON file to rootless Podman Quadlet units, and the host brought to that state."""

__version__ = "0.1.0"
