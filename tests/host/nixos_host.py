"""A booted Debian host that goes through switches as NixOS does.

Its units, users and files are those to which the module evaluates (tests/module/generation.nix);
the packages that they name are links in a store to Debian's programs. A user's manager gives its
units no path but that of systemd, as on NixOS, and the programs that need setuid are in
/run/wrappers only.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tests.host.machine import Machine
from tests.host.project import install
from tests.host.root import VENV
from tests.host.setup import Image, command, write
from tests.images.load import as_user

GENERATIONS = "/nix/generations"
STORE = "/nix/store/00000000000000000000000000000000"
SWITCH = Path(__file__).with_name("switch_to_configuration.py")

_LOADED = "/var/lib/images-are-loaded"
_WRAPPED = ("newuidmap", "newgidmap")
# By what the store's packages stand for: programs of Debian.
_PROGRAMS = {
    "coreutils": ("true", "env", "cat", "sleep", "id", "stat"),
    "podman": ("podman",),
    "systemd": ("systemctl", "busctl", "systemd-run", "journalctl", "loginctl", "systemd-analyze"),
    "findutils": ("find",),
    "gnugrep": ("grep",),
    "gnused": ("sed",),
    "util-linux": ("findmnt",),
}
# What the package of the generator wraps it in.
_WRAPPER = f"""\
#!/bin/sh
PATH=$PATH:{STORE}-util-linux/bin
export PATH
exec {VENV}/bin/llmhop-generator "$@"
"""
# What NixOS's wrapper of Podman puts on its path, beside /run/wrappers/bin.
_HELPERS = ("crun", "conmon", "pasta", "passt", "nsenter", "mount", "umount", "catatonit", "nft")

_LINGER = """\
set -eu
mkdir -p /var/lib/systemd/linger
for user in $(ls /var/lib/systemd/linger); do
  case " $* " in
    *" $user "*) ;;
    *) loginctl disable-linger "$user" || rm "/var/lib/systemd/linger/$user" ;;
  esac
done
for user in "$@"; do loginctl enable-linger "$user"; done
"""


def prepare(machine: Machine, wheels: Path, image: Image) -> None:
    """Make a fresh Debian host into one that `switch` can act on."""
    install(machine, wheels)
    machine.copy_from_host(str(SWITCH), "/nix/switch_to_configuration.py")
    links = [
        f"mkdir -p {STORE}-{package}/bin && "
        + " && ".join(f"ln -s $(type -P {p}) {STORE}-{package}/bin/{p}" for p in programs)
        for package, programs in _PROGRAMS.items()
    ]
    machine.succeed(
        *links,
        f"mkdir -p {STORE}-podman/libexec/podman {STORE}-llmhop/bin {STORE}-llmhop-generator/bin",
        f"ln -s /usr/libexec/podman/quadlet {STORE}-podman/libexec/podman/quadlet",
        f"ln -s {VENV}/bin/llmhop {STORE}-llmhop/bin/llmhop",
        # Also what Podman would look up by itself.
        "mkdir -p /usr/libexec/podman-helpers",
        *(f"ln -s $(type -P {h}) /usr/libexec/podman-helpers/{h} || true" for h in _HELPERS),
        "mv /usr/bin/podman /usr/libexec/.podman-wrapped",
        "mkdir -p /etc/systemd/user.conf.d",
    )
    # A user who is gone is no longer listed; else that takes 10 s.
    write(machine, "/etc/systemd/logind.conf.d/test.conf", "[Login]\nUserStopDelaySec=0\n")
    # Else 90 s, in which all models of a test would stop.
    write(machine, "/etc/systemd/system.conf.d/test.conf", "[Manager]\nDefaultTimeoutStopSec=1\n")
    write(
        machine,
        "/usr/bin/podman",
        "#!/bin/sh\nPATH=/usr/libexec/podman-helpers:/run/wrappers/bin:$PATH\nexport PATH\n"
        'exec /usr/libexec/.podman-wrapped "$@"\n',
    )
    write(
        machine,
        "/etc/systemd/user.conf.d/nixos.conf",
        f'[Manager]\nDefaultEnvironment="PATH={STORE}-systemd/bin"\n',
    )
    write(
        machine,
        "/etc/tmpfiles.d/wrappers.conf",
        "d /run/wrappers/bin 0755 root root -\n"
        + "".join(f"L /run/wrappers/bin/{p} - - - - /usr/libexec/{p}\n" for p in _WRAPPED),
    )
    write(machine, f"{STORE}-llmhop-generator/bin/llmhop-generator", _WRAPPER)
    machine.succeed(
        f"chmod +x /usr/bin/podman {STORE}-llmhop-generator/bin/llmhop-generator",
        *(f"mv /usr/bin/{p} /usr/libexec/{p}" for p in _WRAPPED),
        "systemd-tmpfiles --create wrappers.conf",
        "systemctl daemon-reexec",
    )
    write(machine, "/usr/local/sbin/linger-users", _LINGER)
    archive, [*_, (tag, entrypoint)] = machine.share(image.archive), image.entrypoints.items()
    change = f"--change='ENTRYPOINT {json.dumps(list(entrypoint))}'"
    machine.succeed(f"cp {archive} /var/lib/image.tar")
    command(
        machine,
        "load-images",
        f"podman image exists {image.name}:{tag} || "
        f"podman import --quiet {change} /var/lib/image.tar {image.name}:{tag}",
    )


def add_generation(machine: Machine, name: str, evaluated: dict[str, Any]) -> None:
    """Put an evaluated configuration on the host, for `switch` and `boot`."""
    lingering = [user["name"] for user in evaluated["users"] if user["linger"]]
    files = [*evaluated["files"], *_own_units(evaluated["users"], lingering)]
    users = {"users": evaluated["users"], "groups": evaluated["groups"]}
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / f"{name}.tar"
        with tarfile.open(archive, "w") as tar:
            for file in files:
                _add(tar, f"{GENERATIONS}/{name}/etc/{file['path']}", file)
            _add(tar, f"{GENERATIONS}/{name}/users.json", {"text": json.dumps(users)})
            checks = {"text": evaluated["preSwitchChecks"]}
            _add(tar, f"{GENERATIONS}/{name}/pre-switch-checks", checks)
            for file in evaluated["store"]:
                _add(tar, file["path"], file)
        machine.succeed(f"tar -x -C / -f {machine.share(archive)}")


def _add(tar: tarfile.TarFile, path: str, file: dict[str, str]) -> None:
    info = tarfile.TarInfo(path.removeprefix("/"))
    if "link" in file:
        info.type, info.linkname = tarfile.SYMTYPE, file["link"]
        tar.addfile(info)
        return
    data = file["text"].encode()
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def _own_units(users: list[dict[str, Any]], lingering: list[str]) -> list[dict[str, str]]:
    """Units that NixOS itself has, and one that loads the image in place of a registry."""
    linger = (
        "[Unit]\nAfter=systemd-logind.service\n[Service]\nType=oneshot\nRemainAfterExit=true\n"
        f"ExecStart=/bin/sh /usr/local/sbin/linger-users {' '.join(lingering)}\n"
    )
    files = [_unit("linger-users.service", linger, "multi-user.target")]
    for user in users:
        if user["name"] == "vllm":
            uid = user["uid"]
            load = (
                f"[Unit]\nRequires=user-runtime-dir@{uid}.service\n"
                f"After=user-runtime-dir@{uid}.service\nBefore=user@{uid}.service\n"
                # Once: at a boot, the first podman of the user is to be that of a model. Nor
                # does it leave one's user namespace behind: all that it started is killed.
                f"ConditionPathExists=!{_LOADED}\n"
                "[Service]\nType=oneshot\nUser=vllm\n"
                f"Environment=HOME={user['home']} XDG_RUNTIME_DIR=/run/user/{uid}\n"
                "Environment=PATH=/run/wrappers/bin:/usr/bin:/bin\n"
                f"ExecStart=load-images\nExecStartPost=+/usr/bin/touch {_LOADED}\n"
            )
            files.append(_unit("load-images.service", load, f"user@{uid}.service"))
    return [each for both in files for each in both]


def _unit(name: str, text: str, target: str) -> list[dict[str, str]]:
    directory = "systemd/system"
    wants = {"path": f"{directory}/{target}.wants/{name}", "link": f"../{name}"}
    return [{"path": f"{directory}/{name}", "text": text}, wants]


def switch(machine: Machine, name: str, action: str = "switch") -> tuple[int, str]:
    """Bring the host to a generation; return the exit code and what was said."""
    return machine.execute(
        f"python3 /nix/switch_to_configuration.py {action} {GENERATIONS}/{name} 2>&1"
    )


def containers(machine: Machine, *, user: str = "vllm") -> dict[str, str]:
    """The ids of a user's containers, by name."""
    ask = as_user(user, "podman", "ps", "--no-trunc", "--format={{.Names}} {{.ID}}")
    return dict(line.split() for line in machine.succeed(ask).splitlines())
