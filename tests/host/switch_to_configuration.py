"""Brings a host to another generation in the phases in which NixOS does (runs on the host).

    switch_to_configuration.py switch|boot GENERATION

A generation is a directory with `etc`, `users.json` and `pre-switch-checks` in it. `switch`
follows what switch-to-configuration-ng of nixpkgs does since mid 2026: check, compare and stop,
activate, reload, each user's part, restart and start. `boot` only activates, as NixOS does at a
boot before systemd starts; the host is to be rebooted after it. Exit codes are NixOS's: 4 where
a unit failed.

What no unit of the module needs is left out: mounts, swap, lists that survive an interruption,
the comparison of units of users (those that Podman generates are never compared).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

CURRENT = Path("/nix/current")
ETC = Path("/etc")
UNITS = "etc/systemd/system"

_IGNORED = {"Description", "Documentation", "OnFailure", "SourcePath", "CollectMode"}
_NEVER_STARTED = {"suspend.target", "hibernate.target", "hybrid-sleep.target"}

Sections = dict[str, dict[str, list[str]]]


def run(*words: str, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command, as root or as a user with the service manager of that one at hand.

    By number: activation may just have removed the user.
    """
    if uid is not None:
        runtime = Path(f"/run/user/{uid}")
        bus = f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus"
        ids = (f"--reuid={uid}", f"--regid={runtime.stat().st_gid}", "--clear-groups")
        words = ("setpriv", *ids, "--", "env", f"XDG_RUNTIME_DIR={runtime}", bus, *words)
    return subprocess.run(words, capture_output=True, text=True, check=False)


def systemctl(*words: str) -> subprocess.CompletedProcess[str]:
    """Call systemctl."""
    return run("systemctl", *words)


@dataclass
class Units:
    """What becomes of units that differ between two generations."""

    stop: set[str] = field(default_factory=set)
    start: set[str] = field(default_factory=set)
    restart: set[str] = field(default_factory=set)
    reload: set[str] = field(default_factory=set)
    skip: set[str] = field(default_factory=set)


def read_unit(generation: Path, unit: str) -> Sections | None:
    """The unit of a generation with its drop-ins; None where there is neither."""
    file = generation / UNITS / unit
    drop_ins = sorted(file.parent.glob(f"{unit}.d/*.conf"))
    if not file.exists() and not drop_ins:
        return None
    sections: Sections = {}
    for path in [file, *drop_ins] if file.exists() else drop_ins:
        section: dict[str, list[str]] = {}
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif line and not line.startswith("#"):
                key, value = line.split("=", 1)
                section.setdefault(key, []).append(value)
    return sections


def is_true(unit: Sections, section: str, key: str, default: bool) -> bool:
    """A boolean of a unit."""
    values = unit.get(section, {}).get(key)
    return default if not values else values[-1] in ("1", "yes", "true", "on")


def difference(old: Sections, new: Sections) -> str | None:
    """Whether units differ such that one is restarted or reloaded."""
    found = None
    for name in old.keys() | new.keys():
        one, other = old.get(name, {}), new.get(name, {})
        for key in one.keys() | other.keys():
            if one.get(key) == other.get(key) or (name == "Unit" and key in _IGNORED):
                continue
            if (name, key) != ("Unit", "X-Reload-Triggers"):
                return "restart"
            found = "reload"
    return found


def active_units() -> dict[str, str]:
    """The states of units that are not inactive."""
    listed = systemctl("list-units", "--all", "--no-legend", "--plain", "--full").stdout
    words = [line.split(maxsplit=4) for line in listed.splitlines()]
    return {name: active for name, _, active, *_ in words if active != "inactive"}


def compare(old: Path, new: Path) -> Units:
    """Decide what happens to units that are active."""
    units = Units()
    active = active_units()
    for unit, state in active.items():
        if unit.endswith(".target"):
            refuses = systemctl("show", "-p", "RefuseManualStart", "--value", unit).stdout
            mine = read_unit(new, unit) or {}
            manual = is_true(mine, "Unit", "X-OnlyManualStart", False)
            if refuses == "no\n" and not manual and unit not in _NEVER_STARTED:
                units.start.add(unit)
            continue
        before, after = read_unit(old, unit), read_unit(new, unit)
        if before is None or state not in ("active", "activating"):
            continue
        if after is None:
            if is_true(before, "Unit", "X-StopOnRemoval", True):
                units.stop.add(unit)
            continue
        how = difference(before, after)
        if how == "reload":
            units.reload.add(unit)
        elif how == "restart" and not unit.endswith(".socket"):
            _changed(units, unit, after, new, active)
    return units


def _changed(units: Units, unit: str, after: Sections, new: Path, active: dict[str, str]) -> None:
    if is_true(after, "Service", "X-ReloadIfChanged", False):
        units.reload.add(unit)
    elif (
        not is_true(after, "Service", "X-RestartIfChanged", True)
        or is_true(after, "Unit", "RefuseManualStop", False)
        or is_true(after, "Unit", "X-OnlyManualStart", False)
    ):
        units.skip.add(unit)
    elif not is_true(after, "Service", "X-StopIfChanged", True):
        units.restart.add(unit)
    else:
        socket = unit.removesuffix(".service") + ".socket"
        units.stop.add(unit)
        if socket in active:
            units.stop.add(socket)
        has_socket = socket in active and (new / UNITS / socket).exists()
        units.start.add(socket if has_socket else unit)


def activate(old: Path | None, new: Path) -> None:
    """Users and /etc, as they are to be."""
    _activate_users(json.loads((new / "users.json").read_text()))
    there = set(_files(old)) if old is not None else set()
    wanted = _files(new)
    for name in sorted(there - set(wanted), reverse=True):
        (ETC / name).unlink(missing_ok=True)
        _remove_empty((ETC / name).parent)
    for name in wanted:
        place, origin = ETC / name, new / "etc" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        # A unit is the same file under another name; a link is one to the same place.
        target: Path = origin.readlink() if origin.is_symlink() else origin
        place.unlink(missing_ok=True)
        place.symlink_to(target)
    CURRENT.unlink(missing_ok=True)
    CURRENT.symlink_to(new)


def _files(generation: Path) -> list[str]:
    top = generation / "etc"
    found = []
    for directory, directories, names in os.walk(top):
        links = [name for name in directories if (Path(directory) / name).is_symlink()]
        found += [str((Path(directory) / name).relative_to(top)) for name in [*names, *links]]
    return found


def _remove_empty(directory: Path) -> None:
    while directory != ETC and directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()
        directory = directory.parent


def _activate_users(declared: dict[str, list[dict[str, object]]]) -> None:
    """Make users that are missing and remove those that are gone; no uid ever changes."""
    state = Path("/var/lib/nixos/declared-users")
    before = set(state.read_text().split()) if state.exists() else set()
    for group in declared["groups"]:
        if run("getent", "group", str(group["name"])).returncode != 0:
            gid = ["--gid", str(group["gid"])] if group["gid"] is not None else []
            run("groupadd", "--system", *gid, str(group["name"]))
    names = set()
    for user in declared["users"]:
        name = str(user["name"])
        names.add(name)
        if run("getent", "passwd", name).returncode != 0:
            uid = ["--uid", str(user["uid"])] if user["uid"] is not None else []
            home = ["--no-create-home", "--home-dir", str(user["home"])]
            run("useradd", "--system", *uid, *home, "--gid", str(user["group"]), name)
    for name in before - names:
        run("userdel", name)
    for kind in ("uid", "gid"):
        lines = [
            f"{user['name']}:{each[f'start{kind.capitalize()}']}:{each['count']}\n"
            for user in declared["users"]
            for each in user[f"sub{kind.capitalize()}Ranges"]  # type: ignore[attr-defined]
        ]
        (ETC / f"sub{kind}").write_text("".join(lines))
    state.parent.mkdir(parents=True, exist_ok=True)
    state.write_text(" ".join(sorted(names)))


def switch_users() -> bool:
    """Each user's part; answer whether every manager could be spoken to."""
    well = True
    for line in run("loginctl", "list-users", "--no-legend").stdout.splitlines():
        uid, name = line.split()[:2]

        def call(*words: str, uid: str = uid) -> subprocess.CompletedProcess[str]:
            return run("systemctl", "--user", *words, uid=int(uid))

        if not Path(f"/run/user/{uid}").exists() or call("daemon-reexec").returncode != 0:
            say(f"the manager of {name} can't be reached")
            well = False
            continue
        call("reset-failed")
        call("daemon-reload")
        listed = call("list-units", "--type=target", "--state=active", "--no-legend", "--plain")
        targets = [line.split()[0] for line in listed.stdout.splitlines()]
        shown = [
            target
            for target in targets
            if "RefuseManualStart=no" in call("show", "-p", "RefuseManualStart", target).stdout
            and "X-OnlyManualStart=true" not in call("cat", target).stdout
        ]
        call("start", *shown)
    return well


def failed_units() -> list[str]:
    """The units that failed, or are about to be started again after a failure."""
    listed = systemctl("list-units", "--all", "--no-legend", "--plain", "--full").stdout
    found = []
    for line in listed.splitlines():
        unit, _, active, sub, *_ = line.split(maxsplit=4)
        if active == "failed":
            found.append(unit)
        elif sub == "auto-restart":
            status = systemctl("show", "-p", "ExecMainStatus", "--value", unit).stdout
            if status.strip() != "0":
                found.append(unit)
    return found


def say(text: str) -> None:
    """Tell what happens."""
    print(text, flush=True)


def told(what: str, units: Iterable[str]) -> list[str]:
    """Say which units something happens to, and return them."""
    names = sorted(units)
    if names:
        say(f"{what}: {', '.join(name for name in names if not name.endswith('.target'))}")
    return names


def switch(new: Path) -> int:
    """Go through all phases."""
    old = CURRENT.resolve() if CURRENT.exists() else Path("/nonexistent")
    units = compare(old, new)
    if stop := told("stopping", units.stop):
        systemctl("stop", *stop)
    told("NOT restarting", units.skip)
    say("activating")
    activate(old if old.exists() else None, new)
    systemctl("reset-failed")
    systemctl("daemon-reload")
    well = switch_users()
    run("systemd-tmpfiles", "--create")
    for verb, names in (
        ("reload", units.reload),
        ("restart", units.restart),
        ("start", units.start),
    ):
        if listed := told(f"{verb}ing", names):
            done = systemctl(verb, *listed)
            say(done.stderr)
            well = well and done.returncode == 0
    if failed := told("the following units failed", failed_units()):
        say(systemctl("status", "--no-pager", "--full", *failed).stdout)
        well = False
    return 0 if well else 4


def main() -> int:
    """Do as asked."""
    action, generation = sys.argv[1], Path(sys.argv[2])
    check = run("bash", str(generation / "pre-switch-checks"), str(generation), action)
    if check.returncode != 0:
        say(f"{check.stdout}{check.stderr}Pre-switch checks failed")
        return 1
    if action == "boot":
        activate(CURRENT.resolve() if CURRENT.exists() else None, generation)
        return 0
    return switch(generation)


if __name__ == "__main__":
    sys.exit(main())
