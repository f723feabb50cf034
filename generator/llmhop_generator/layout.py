"""Where things lie on a host. The NixOS module declares the same places."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

_HOST_TOML = files("llmhop_generator").joinpath("host.toml")
HOST: Final[dict[str, Any]] = tomllib.loads(_HOST_TOML.read_text())
"""What the NixOS module reads too."""

STATE_DIR = Path(HOST["state_dir"])
ROUTER_CONFIG = STATE_DIR / "llmhop.json"
ROUTER_BEFORE = STATE_DIR / "llmhop.before.json"
"""The configuration that llmhop runs by, kept until it has read the one in ROUTER_CONFIG."""
ENVIRONMENT_KEY = STATE_DIR / "environment.key"
WANTED_NOTES = STATE_DIR / "wanted.json"
UNFINISHED_ROUTES = STATE_DIR / "unfinished.json"
STAMP = STATE_DIR / "applied.json"
STATE_FILES = (
    *(ROUTER_CONFIG, ROUTER_BEFORE, ENVIRONMENT_KEY, WANTED_NOTES, UNFINISHED_ROUTES, STAMP),
)
"""All of them, which a run of `apply` writes."""
MODELS_TARGET = f"{HOST['models_target']}.target"
"""What a user's manager starts of models when it starts itself."""
DEVICE_SERVICES: Final[list[str]] = HOST["device_services"]
"""Services that write the CDI specifications of devices."""
SYSTEM_DIRECTORIES: Final[list[str]] = HOST["system_directories"]
"""Directories of every system, which are nobody's to be given."""
SYSTEM_TREES: Final[dict[str, str]] = {
    path: trees["why"] for trees in HOST["trees"] for path in trees["paths"]
}
"""Directories below which nothing is either, and why."""
HOME_DIRECTORIES: Final[list[str]] = HOST["home_directories"]
"""Directories of the models' user's home that say how containers start."""
ROUTER_USER: Final[str] = HOST["router"]["user"]
ROUTER_UNIT = "llmhop.service"
ROUTER_SOCKET = "llmhop.socket"
ROUTES_UNIT = "llmhop-routes.service"
"""What gives llmhop at boot the routes that a run was cut off before giving."""
ETC = Path("/etc")
LINGER = Path("/var/lib/systemd/linger")
"""Has a file for each user whose manager a boot starts (loginctl(1), enable-linger)."""
SYSTEM_UNITS = ETC / "systemd/system"
"""Where `provision` puts the units of the system's manager."""
USER_UNITS = tuple(
    Path(place, "systemd/user")
    for place in ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/usr/local/share", "/usr/share")
)
"""Where units for the managers of all users are (systemd.unit(5)), the first one winning."""
ROUTER_UNITS = (ROUTER_SOCKET, ROUTER_UNIT)
ROUTER_CREDENTIALS = Path("/run/credentials", ROUTER_UNIT)
"""Where llmhop finds what its unit loads for it as it starts (systemd.exec(5), LoadCredential=)."""


QUADLET_USERS = Path("/etc/containers/systemd/users")
"""Where root puts Quadlet sources for users (podman-systemd.unit(5), rootless search path)."""


def quadlet_dir(uid: int) -> Path:
    """Where a user's manager finds the Quadlet sources that root wrote for it.

    It may be a link: on NixOS, where /etc may be read-only, it leads to the state
    directory. A link in the place of its parent would be followed for every user:
    Podman's generator compares numbers with what a name resolves to.
    """
    return QUADLET_USERS / str(uid) / "llmhop"


def user_manager(uid: int) -> str:
    """The system unit that runs a user's service manager."""
    return f"user@{uid}.service"


def runtime_unit(uid: int) -> str:
    """The system unit that makes a user's runtime directory, and removes it as it stops."""
    return f"user-runtime-dir@{uid}.service"


def runtime_dir(uid: int) -> Path:
    """What lasts as long as a user's manager: its XDG_RUNTIME_DIR, `%t` in its units."""
    return Path("/run/user") / str(uid)


def provisioned_files(uid: int | None) -> tuple[str, ...]:
    """The files below /etc that `provision` writes on a host, models being served by `uid`."""
    units = tuple(f"systemd/system/{unit}" for unit in ROUTER_UNITS)
    host = ("sysusers.d/llmhop.conf", "tmpfiles.d/llmhop.conf", *units)
    if uid is None:
        return host
    return (*host, f"systemd/system/{ROUTES_UNIT}", *model_files(uid))


def model_files(uid: int) -> tuple[str, ...]:
    """Those of them without which a boot starts no model of a user as it should."""
    drop_in = f"systemd/system/{user_manager(uid)}.d/llmhop.conf"
    return (drop_in, f"systemd/user/{MODELS_TARGET}", HOST["containers_conf"]["path"])


HEADER = "Written by llmhop-generator, which replaces it; change the option it comes from."
"""First line of every file of ours: what bears it may be replaced and removed."""
