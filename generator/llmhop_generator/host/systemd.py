"""The operations on systemd that are needed here."""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Self

from llmhop_generator.host.process import Account, Finished, run
from llmhop_generator.layout import runtime_dir

_CAP_SYS_RESOURCE = 24
# A start of vLLM that ends in tracebacks of several processes writes some hundred.
_JOURNAL_LINES = 3000
_JOURNALS = ("/var/log/journal", "/run/log/journal")
# waitid(2), si_code: CLD_EXITED and so on.
_MAIN_CODES = {"1": "exited", "2": "killed", "3": "dumped"}
# A list of strings, as systemctl prints it: in double quotes what a shell would not take as it is,
# with C escapes in it (systemd's src/basic/escape.c, shell_maybe_quote; seen with systemd 257).
_LISTED = re.compile(r'"((?:[^"\\]|\\.)*)"|(\S+)')
_ESCAPE = re.compile(r"\\([0-7]{3}|.)")
_C_ESCAPES = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))
_PROPERTIES = ",".join(
    [
        "LoadState",
        "ActiveState",
        "SubState",
        "Result",
        "Job",
        "NRestarts",
        "MainPID",
        "ExecMainCode",
        "ExecMainStatus",
        "ActiveEnterTimestampMonotonic",
        "StatusText",
        "NeedDaemonReload",
        "ControlGroup",
        "InvocationID",
        "UnitFileState",
        "FragmentPath",
        "SourcePath",
        "DropInPaths",
        "ConditionResult",
        "ConditionTimestampMonotonic",
        "AssertResult",
        "AssertTimestampMonotonic",
    ]
)


@dataclass(frozen=True)
class UnitState:
    """The properties of a unit, as systemctl show prints them.

    `active_since_s` is in seconds of the monotonic clock, 0 where it never was active;
    `main_pid` is 0 where there is none; `needs_reload` says that the unit was read from a
    file, or the Quadlet source behind it, that has changed since; `control_group` is where
    its processes are, empty where it has none; `sub` is what `active` is in detail. `invocation`
    is systemd's id of its last start; `file_state` says how it came to be what it is. `unmet`
    says what kept the last start from beginning: `Conditions`, `Asserts` or nothing. `main_code`
    says how the main process ended, `exited`, `killed`, `dumped` or nothing, and `main_status` by
    which exit code or signal. `fragment` is the file that the unit was read from, `source` what
    that was made of, and `drop_ins` what was read beside.
    """

    load: str
    active: str
    result: str
    has_job: bool
    restarts: int
    main_pid: int
    active_since_s: float
    status_text: str = ""
    needs_reload: bool = False
    control_group: str = ""
    sub: str = ""
    invocation: str = ""
    file_state: str = ""
    unmet: str = ""
    main_code: str = ""
    main_status: int = 0
    fragment: str = ""
    source: str = ""
    drop_ins: tuple[str, ...] = ()

    @property
    def is_up(self) -> bool:
        """Whether something of it runs."""
        return self.active not in ("inactive", "failed")

    @property
    def is_masked(self) -> bool:
        """Whether nothing can start it (systemctl(1), mask)."""
        return self.load == "masked"

    @property
    def waits_to_restart(self) -> bool:
        """Whether a start has failed, and systemd is about to try again."""
        return self.sub == "auto-restart"

    @property
    def is_queued(self) -> bool:
        """Whether it waits for its turn to start."""
        return self.active == "inactive" and self.has_job

    @property
    def is_to_start(self) -> bool:
        """Whether it starts, and may have run nothing yet that tells of this start."""
        return self.is_queued or self.sub in ("start-pre", "auto-restart")

    @property
    def failures(self) -> int:
        """How many starts have failed since somebody asked for one."""
        return self.restarts + self.waits_to_restart

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the block that `systemctl show` prints for one unit."""
        read = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        return cls(
            load=read.get("LoadState", ""),
            active=read.get("ActiveState", ""),
            result=read.get("Result", ""),
            has_job=read.get("Job", "") not in ("", "0"),
            restarts=int(read.get("NRestarts") or 0),
            main_pid=int(read.get("MainPID") or 0),
            active_since_s=int(read.get("ActiveEnterTimestampMonotonic") or 0) / 1e6,
            status_text=read.get("StatusText", ""),
            needs_reload=read.get("NeedDaemonReload") == "yes",
            control_group=read.get("ControlGroup", ""),
            sub=read.get("SubState", ""),
            invocation=read.get("InvocationID", ""),
            file_state=read.get("UnitFileState", ""),
            unmet=_unmet(read),
            main_code=_MAIN_CODES.get(read.get("ExecMainCode", ""), ""),
            main_status=int(read.get("ExecMainStatus") or 0),
            fragment=read.get("FragmentPath", ""),
            source=read.get("SourcePath", ""),
            drop_ins=_strings(read.get("DropInPaths", "")),
        )


def _strings(text: str) -> tuple[str, ...]:
    """The strings of a list that systemctl has printed."""
    return tuple(
        _ESCAPE.sub(_unescaped, quoted) if quoted else word
        for quoted, word in _LISTED.findall(text)
    )


def _unescaped(found: re.Match[str]) -> str:
    escaped = found[1]
    return _C_ESCAPES.get(escaped, escaped) if len(escaped) == 1 else chr(int(escaped, 8))


def _unmet(read: Mapping[str, str]) -> str:
    """What of a unit was not met when it was to start last: asserts are seen to after conditions.

    What was never seen to is "no", too.
    """
    if read.get("ActiveState") not in ("inactive", "failed"):
        return ""
    if read.get("Result") == "exec-condition":
        return ""  # which is another thing, though it makes ConditionResult= the same
    for kind in ("Condition", "Assert"):
        was_seen_to = read.get(f"{kind}TimestampMonotonic", "0") not in ("", "0")
        if was_seen_to and read.get(f"{kind}Result") == "no":
            return f"{kind}s"
    return ""


def system(*arguments: str, check: bool = True) -> Finished:
    """Call systemctl for the system's manager."""
    return run(["systemctl", *arguments], check=check)


def is_enabled(unit: str, *options: str) -> bool:
    """Whether something starts a unit by itself; with `--global` in the managers of all users."""
    return system(*options, "is-enabled", "--quiet", unit, check=False).code == 0


def system_is_stopping() -> bool:
    """Whether the host goes down (systemctl(1), is-system-running)."""
    return system("is-system-running", check=False).stdout.strip() == "stopping"


def system_is_starting() -> bool:
    """Whether the host has not come up yet (systemctl(1), is-system-running)."""
    return system("is-system-running", check=False).stdout.strip() in ("initializing", "starting")


def system_states(units: Sequence[str]) -> dict[str, UnitState]:
    """Ask the system's manager for the states of units."""
    return _states(system, units)


def system_socket_listens(unit: str) -> list[str]:
    """The addresses that an active socket unit of the system's manager listens on."""
    said = system("show", "-p", "ActiveState", "-p", "Listen", "--", unit).stdout.splitlines()
    # Such as `Listen=127.0.0.1:8080 (Stream)`, a line for each.
    listens = [line.partition("=")[2].rpartition(" (")[0] for line in said if "Listen=" in line]
    return listens if "ActiveState=active" in said else []


def _states(call: Callable[..., Finished], units: Sequence[str]) -> dict[str, UnitState]:
    if not units:
        return {}
    blocks = call("show", "-p", _PROPERTIES, "--", *units).stdout.strip().split("\n\n")
    return {unit: UnitState.parse(block) for unit, block in zip(units, blocks, strict=True)}


def start_commands(unit: str) -> list[list[str]]:
    """The commands by which the system's manager would start a service, as words.

    systemctl runs the words together (org.freedesktop.systemd1(5), ExecStart). None where the
    manager does not know the service.
    """
    done = run(["busctl", *_property(unit, "Service", "ExecStart")], check=False)
    return [words for _program, words, *_ in _data(done)]


def _property(unit: str, interface: str, name: str) -> list[str]:
    """What busctl is asked for a property of a unit."""
    bus = "org.freedesktop.systemd1"
    path = "/org/freedesktop/systemd1/unit/" + re.sub(
        "[^A-Za-z0-9]", lambda char: f"_{ord(char[0]):02x}", unit
    )
    return ["--json=short", "get-property", bus, path, f"{bus}.{interface}", name]


def _data(done: Finished) -> list[list[Any]]:
    """The structures that busctl printed; none where it was not answered."""
    try:
        found: list[list[Any]] = json.loads(done.stdout)["data"]
    except (ValueError, KeyError, TypeError):
        return []
    return found


def last_messages(*units: str) -> str:
    """The last lines that system units wrote to the journal in this boot."""
    named = [word for unit in units for word in ("-u", unit)]
    return run(
        ["journalctl", "-q", "-b", *named, "-n", "10", "-o", "cat"], check=False
    ).stdout.strip()


def user_unit_journal(service: str, fields: Sequence[str]) -> list[str]:
    """The last entries of the journal in this boot that a user's service or its manager wrote.

    Each is a JSON object of some fields.
    """
    return _unit_journal(fields, f"_SYSTEMD_USER_UNIT={service}", f"USER_UNIT={service}")


def system_unit_journal(unit: str, fields: Sequence[str]) -> list[str]:
    """The last entries that a service of the system or its manager wrote, as of a user's."""
    return _unit_journal(fields, f"_SYSTEMD_UNIT={unit}", f"UNIT={unit}")


def _unit_journal(fields: Sequence[str], by_unit: str, about_unit: str) -> list[str]:
    words = ["journalctl", "-b", "-n", str(_JOURNAL_LINES), "-o", "json", "--all"]
    which = [f"--output-fields={','.join(fields)}", by_unit, "+", about_unit]
    done = run([*words, *which], check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("{")]


def may_read_journal() -> bool:
    """Whether this process sees what others write to the journal, and system users among them.

    Who may is said by the files' modes and ACLs (systemd-journald.service(8), access control).
    """
    files = (path for top in _JOURNALS for path in Path(top).glob("*/system.journal"))
    return os.geteuid() == 0 or any(os.access(path, os.R_OK) for path in files)


def hard_open_files_limit(pid: int) -> float:
    """The hard limit of a process on open files, from /proc/PID/limits (proc_pid_limits(5)).

    prlimit(2) tells it only to root and to the process's own user.
    """
    for line in Path(f"/proc/{pid}/limits").read_text().splitlines():
        if line.startswith("Max open files"):
            hard = line.split()[4]
            return inf if hard == "unlimited" else int(hard)
    return inf


def may_raise_limits() -> bool:
    """Whether this process may raise hard limits; in a container root may not (prlimit(2))."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    effective = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)


@dataclass(frozen=True)
class UserManager:
    """The service manager of a lingering user, called by root as that user.

    `systemctl --user -M user@.host` would do the same in ten times the time, and
    opens a login session at every call, each with its line in the journal.
    """

    account: Account

    def call(self, *arguments: str, check: bool = True) -> Finished:
        """Call systemctl for this manager."""
        return self._run(["systemctl", "--user", *arguments], check=check)

    def _run(self, command: list[str], *, check: bool) -> Finished:
        runtime = runtime_dir(self.account.uid)
        return run(
            command,
            env={
                "XDG_RUNTIME_DIR": str(runtime),
                "DBUS_SESSION_BUS_ADDRESS": f"unix:path={runtime}/bus",
            },
            account=self.account,
            check=check,
        )

    def reload(self) -> None:
        """Run the generators again and load what they wrote."""
        self.call("daemon-reload")

    def stop(self, units: Sequence[str]) -> None:
        """Stop units and wait for it; those that are not loaded are passed over."""
        states = self.states(units)
        # What runs may have lost its file.
        known = [unit for unit in units if states[unit].load == "loaded" or states[unit].is_up]
        if known:
            self.call("stop", *known)

    def start(self, units: Sequence[str], *, apart: bool = False) -> None:
        """Queue the start of units, past start limits that they hit before.

        `apart` starts each at once, whatever After= says of the others.
        """
        self.call("reset-failed", *units, check=False)
        mode = ["--job-mode=ignore-dependencies"] if apart else []
        self.call("start", "--no-block", *mode, *units)

    def states(self, units: Sequence[str]) -> dict[str, UnitState]:
        """Ask for the states of units, in one call."""
        return _states(self.call, units)

    def unmet(self, unit: str, kind: str) -> list[str]:
        """The `Conditions` or `Asserts` of a unit that were not met, as lines of a unit file.

        systemctl does not print this property (org.freedesktop.systemd1(5)).
        """
        done = self._run(["busctl", "--user", *_property(unit, "Unit", kind)], check=False)
        return [
            f"{key}={'|' if triggers else ''}{'!' if negated else ''}{value}"
            for key, triggers, negated, value, result in _data(done)
            if result < 0
        ]

    def stalled(self, states: Mapping[str, UnitState]) -> set[str]:
        """Those units that start, but whose podman, which would say that they are up, was killed.

        systemd watches the container's monitor by then and would wait until the start's timeout.
        """
        starting = [unit for unit, state in states.items() if state.active == "activating"]
        alone = [unit for unit in starting if _lacks_podman(states[unit])]
        # One that has just come up has no podman any more, either.
        again = self.states(alone)
        return {unit for unit in alone if again[unit].active == "activating"}


def _lacks_podman(state: UnitState) -> bool:
    group = Path("/sys/fs/cgroup", state.control_group.lstrip("/"))
    if not state.control_group or not group.is_dir():
        return False
    names = set()
    for pids in group.rglob("cgroup.procs"):
        with suppress(OSError):
            for pid in pids.read_text(encoding="ascii").split():
                names.add(Path("/proc", pid, "comm").read_text(errors="replace").strip())
    # Behind a wrapper, as on NixOS, it is called .podman-wrapped.
    return "conmon" in names and not any("podman" in name for name in names)
