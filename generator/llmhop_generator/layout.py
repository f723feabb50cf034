"""Where things lie on a host. The NixOS module declares the same places."""

from pathlib import Path

STATE_DIR = Path("/var/lib/llmhop")
ROUTER_CONFIG = STATE_DIR / "llmhop.json"
ROUTER_BEFORE = STATE_DIR / "llmhop.before.json"
"""What llmhop has read, while it has not read its configuration yet."""
ENVIRONMENT_KEY = STATE_DIR / "environment.key"
WANTED_NOTES = STATE_DIR / "wanted.json"
STAMP = STATE_DIR / "applied.json"
ROUTER_USER = "llmhop"
ROUTER_UNIT = "llmhop.service"
ROUTER_SOCKET = "llmhop.socket"


def quadlet_dir(uid: int) -> Path:
    """Where a user's manager finds the Quadlet sources that root wrote for it.

    It may be a link: on NixOS, where /etc may be read-only, it leads to the state
    directory. Source: podman-systemd.unit(5), rootless unit search path.
    """
    return Path("/etc/containers/systemd/users") / str(uid)


def user_manager(uid: int) -> str:
    """The system unit that runs a user's service manager."""
    return f"user@{uid}.service"


def runtime_dir(uid: int) -> Path:
    """What lasts as long as a user's manager: its XDG_RUNTIME_DIR, `%t` in its units."""
    return Path("/run/user") / str(uid)
