"""Sets up a systemd host that is not NixOS, through the system's own tools."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from llmhop_generator.contract.options import Config, Vllm
from llmhop_generator.errors import Finding, GeneratorError
from llmhop_generator.errors import Path as OptionPath
from llmhop_generator.host import files
from llmhop_generator.host.process import require_root, run
from llmhop_generator.host.subids import is_given, ranges_of
from llmhop_generator.host.systemd import is_enabled, system
from llmhop_generator.layout import (
    ETC,
    LINGER,
    MODELS_TARGET,
    ROUTER_CONFIG,
    ROUTER_SOCKET,
    ROUTER_UNIT,
    ROUTER_UNITS,
    ROUTER_USER,
    ROUTES_UNIT,
    STATE_DIR,
    SYSTEM_UNITS,
    quadlet_dir,
    user_manager,
)
from llmhop_generator.preflight.storage.directories import directory_conflicts, home_findings
from llmhop_generator.preflight.user import find_account, user_conflicts
from llmhop_generator.render.host_tree import OWN_USER, host_files
from llmhop_generator.render.tree import render
from llmhop_generator.router.routes import ADDRESS_KEYS, restart_keys

# What ProtectHome= takes from llmhop.service (systemd.exec(5)).
_HIDDEN = ("/home", "/root", "/run/user")


@dataclass(frozen=True)
class WriteFile:
    """A file to put in place."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path}"

    def carry_out(self) -> None:
        """Write it."""
        files.discard_unfinished(self.path.parent, self.path.name)
        files.write(self.path, self.text)


@dataclass(frozen=True)
class Command:
    """A command to run."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)

    def carry_out(self) -> None:
        """Run it."""
        run(self.words)


@dataclass(frozen=True)
class MakeDirectories(Command):
    """A run of systemd-tmpfiles, which exits with 0 also where it makes nothing."""

    config: Config

    def carry_out(self) -> None:
        """Run it, and see that each directory is there then.

        Raises:
            GeneratorError: one is not.
        """
        said = run(self.words).stderr.strip()
        lacking = [
            Finding.at(
                where, f"{path} was not made by systemd-tmpfiles: {said or 'see what stands there'}"
            )
            for where, path in _directories(self.config)
            if not path.is_dir()
        ]
        if lacking:
            raise GeneratorError("this host is not set up yet; mend that and run it again", lacking)


@dataclass(frozen=True)
class RemoveFile:
    """A file of ours to remove."""

    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def carry_out(self) -> None:
        """Remove it."""
        files.remove(self.path)


Step = WriteFile | RemoveFile | Command


def provision(config: Config, llmhop: str, report: Callable[[str], None], *, dry_run: bool) -> None:
    """Carry out the steps that this host still needs, each told to `report` first.

    A `dry_run` takes none, and needs no root: what only root may see counts as missing.

    Raises:
        GeneratorError: not run as root, or a step failed; running it again goes on.
    """
    if not dry_run:
        require_root("provision")
    _require_possible(config, llmhop)
    count = 0
    # One after the other: what a later step needs may come from an earlier one.
    for step in _steps(config, llmhop):
        report(str(step))
        if not dry_run:
            step.carry_out()
        count += 1
    if count == 0:
        report("nothing to do")


def _require_possible(config: Config, llmhop: str) -> None:
    if Path("/etc/NIXOS").exists():
        raise GeneratorError("this is NixOS: import the module, which declares all of this")
    if config.llmhop.enable:
        found = shutil.which(llmhop)
        if found is None:
            raise GeneratorError(
                f"the command {llmhop!r} is not found; give its path with --llmhop"
            )
        if any(Path(found).resolve().is_relative_to(home) for home in _HIDDEN):
            raise GeneratorError(
                f"{found} lies in a home directory, which llmhop.service can't see; "
                "install it elsewhere, for example below /opt"
            )
    if isinstance(config.vllm, Vllm) and (problems := sorted(set(_conflicts(config.vllm)))):
        raise GeneratorError("this host can't be set up so, and nothing was changed", problems)


def _conflicts(vllm: Vllm) -> Iterator[Finding]:
    """Find what no step mends, and what a step would take from others."""
    user = vllm.user
    if user != OWN_USER and find_account(user) is None:
        what = f"{user} does not exist; only {OWN_USER} is made here, make {user} yourself"
        yield Finding.at(("vllm", "user"), what)
    else:
        yield from user_conflicts(vllm)
    yield from home_findings(vllm)
    yield from directory_conflicts(vllm)


def _steps(config: Config, llmhop: str) -> Iterator[Step]:
    socket = SYSTEM_UNITS / ROUTER_SOCKET
    wants_socket = f"systemd/system/{ROUTER_SOCKET}" in host_files(config, llmhop)
    if not wants_socket and _is_ours(socket):
        # The service requires the socket and stops with it; apply starts it again.
        yield Command(("systemctl", "disable", "--now", ROUTER_SOCKET))
        yield RemoveFile(socket)
    written = [
        WriteFile(ETC / path, text)
        for path, text in host_files(config, llmhop, own_command()).items()
        if not files.is_written(ETC / path, text)
    ]
    yield from written
    changed = {step.path for step in written}
    users = ETC / "sysusers.d/llmhop.conf"
    if users in changed or not _users_exist(config):
        yield Command(("systemd-sysusers", str(users)))
    directories = ETC / "tmpfiles.d/llmhop.conf"
    if directories in changed or not _directories_exist(config):
        yield MakeDirectories(("systemd-tmpfiles", "--create", str(directories)), config)
    if any(ETC / "systemd" in path.parents for path in changed):
        yield Command(("systemctl", "daemon-reload"))
    if isinstance(config.vllm, Vllm):
        yield from _user_steps(config.vllm)
    if config.llmhop.enable:
        units = [ROUTER_UNIT, ROUTER_SOCKET] if wants_socket else [ROUTER_UNIT]
        units += [ROUTES_UNIT] if isinstance(config.vllm, Vllm) else []
        if disabled := [unit for unit in units if not is_enabled(unit)]:
            yield Command(("systemctl", "enable", *disabled))
        if socket in changed and _is_active(ROUTER_UNIT) and _has_addresses(config):
            # In one transaction: the service ends before the socket, and starts after it.
            yield Command(("systemctl", "restart", *ROUTER_UNITS))


def own_command() -> str:
    """This command, such that systemd finds it."""
    for program in (Path(sys.argv[0]), Path(sys.executable).with_name("llmhop-generator")):
        if program.name == "llmhop-generator" and program.is_file():
            return str(program.absolute())
    return shutil.which("llmhop-generator") or "llmhop-generator"


def _has_addresses(config: Config) -> bool:
    """Whether llmhop's configuration has the addresses of this one already.

    Otherwise `apply` restarts it, as it writes the configuration: by the one before, the new
    addresses could be open without its tokens.
    """
    wanted = render(config).router
    present = files.read_regular(ROUTER_CONFIG)  # closed to who only asks what would be done
    if wanted is None or present is None:
        return False
    return ADDRESS_KEYS.isdisjoint(restart_keys(present.decode(errors="replace"), wanted))


def _users_exist(config: Config) -> bool:
    users = [ROUTER_USER] if config.llmhop.enable else []
    if isinstance(config.vllm, Vllm) and config.vllm.user == OWN_USER:
        users.append(OWN_USER)
    return all(find_account(user) is not None for user in users)


def _directories_exist(config: Config) -> bool:
    # What is closed to who only asks is told as missing.
    return all(map(os.path.isdir, [path for _, path in _directories(config)]))


def _directories(config: Config) -> Iterator[tuple[OptionPath, Path]]:
    """The directories that a configuration needs, and the option of each."""
    yield ("llmhop", "enable"), STATE_DIR
    if isinstance(config.vllm, Vllm):
        yield ("vllm", "uid"), quadlet_dir(config.vllm.uid)
        yield ("vllm", "dataDir"), Path(config.vllm.data_dir)
        yield ("vllm", "cacheDir"), Path(config.vllm.cache_dir)


def _user_steps(vllm: Vllm) -> Iterator[Step]:
    for kind, start, count in (
        ("uid", vllm.sub_uid_start, vllm.sub_uid_count),
        ("gid", vllm.sub_gid_start, vllm.sub_gid_count),
    ):
        own = ranges_of(ETC / f"sub{kind}", vllm.user, vllm.uid)
        if not is_given(own, start, count):
            ids = f"{start}-{start + count - 1}"
            yield Command(("usermod", f"--add-sub{kind}s", ids, vllm.user))
    if not is_enabled(MODELS_TARGET, "--global"):
        yield Command(("systemctl", "--global", "enable", MODELS_TARGET))
    if not (LINGER / vllm.user).exists():
        yield Command(("loginctl", "enable-linger", vllm.user))
    if not _is_active(user_manager(vllm.uid)):
        yield Command(("systemctl", "start", user_manager(vllm.uid)))


def _is_active(unit: str) -> bool:
    return system("is-active", "--quiet", unit, check=False).code == 0


def _is_ours(path: Path) -> bool:
    text = files.read(path)
    return text is not None and files.is_ours(text)
