"""A host in memory: systemd's managers, Podman and llmhop as far as `apply` can tell.

All that the generator does to a host goes through the commands that it runs and the files that
it writes. The commands are answered here; the files are real, below a directory. What models
do between two commands happens where the generator sleeps (`tick`), or in tests.
"""

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llmhop_generator.errors import GeneratorError
from llmhop_generator.host.process import Account, Finished

from tests.generator.support.simulated_unit import PENDING, STATES, Unit
from tests.generator.support.unit_order import after_in, has_cycle

UID = 503
MANAGER = f"user@{UID}.service"
_TRIES = 2  # in place of five: as many starts until the start limit is hit


@dataclass
class SimulatedHost:
    """What a host is, and what happens on it.

    `router` is the configuration that llmhop has read, None where it is down; `lacks_socket`
    whether systemd's socket for it is; `router_command` is its unit's, `router_pid` its process
    until it restarts. `goes_down` says that the host does: nothing starts or reloads any more.
    `ailing` are models that fail to start, whatever their unit; `says_why` whether their journal
    tells that they fail in the same way again. `interrupt` is called before each effect of the
    generator, with its name. `stops_fail` has the next stop fail; `pulls_fail` every pull. `down`
    are units of the system's manager that do not run.
    """

    root: Path
    units: dict[str, Unit] = field(default_factory=dict)
    router: dict[str, Any] | None = None
    router_command: list[str] = field(default_factory=list)
    router_pid: int = 0
    lacks_socket: bool = False
    goes_down: bool = False
    ailing: set[str] = field(default_factory=set)
    says_why: bool = False
    stops_fail: bool = False
    pulls_fail: bool = False
    images: set[str] = field(default_factory=set)
    down: set[str] = field(default_factory=set)
    interrupt: Callable[[str], None] = lambda _: None
    stopped: Callable[[str], None] = lambda _: None
    orders: int = 0
    clashes: list[str] = field(default_factory=list)

    @property
    def router_config(self) -> Path:
        return self.root / "state/llmhop.json"

    def quadlet_dir(self, uid: int) -> Path:
        return self.root / "etc/containers/systemd/users" / str(uid) / "llmhop"

    def runtime_dir(self, uid: int) -> Path:
        return self.root / "run" / str(uid)

    def on_disk(self) -> dict[str, str]:
        """The sources on disk, by service."""
        found = self.quadlet_dir(UID).glob("*.container")
        return {f"{path.stem}.service": path.read_text() for path in found}

    def _read(self) -> dict[str, str]:
        """The sources that the user's manager can read."""
        directory = self.quadlet_dir(UID)
        if not directory.is_dir() or not directory.stat().st_mode & 0o001:
            return {}
        modes = {s: (directory / f"{s[:-8]}.container").stat().st_mode for s in self.on_disk()}
        return {s: text for s, text in self.on_disk().items() if modes[s] & 0o004}

    def unit(self, service: str) -> Unit:
        return self.units.setdefault(service, Unit())

    def routes(self) -> dict[str, int]:
        """The port of each route that llmhop has read."""
        models = (self.router or {}).get("models", {})
        return {name: int(entry["url"].rpartition(":")[2]) for name, entry in models.items()}

    # What happens by itself, or by hand.

    def tick(self) -> None:
        """Let some time pass: each unit takes its next step, if it has one."""
        for service, unit in sorted(self.units.items()):
            if (unit.state == "queued" and not self._is_held(unit)) or unit.state == "auto-restart":
                self._begin(unit)
            elif unit.state == "start-pre":
                self._run(service, unit)
            elif unit.state == "starting":
                self._become_healthy(service, unit)

    def settle(self) -> None:
        """Let time pass until nothing starts any more."""
        for _ in range(100):
            if not any(unit.state in PENDING for unit in self.units.values()):
                return
            self.tick()
        raise AssertionError("units wait for one another")

    def _is_held(self, unit: Unit) -> bool:
        others = after_in(unit.loaded or "")
        return any(self.unit(other).state in PENDING for other in others)

    def _begin(self, unit: Unit) -> None:
        unit.state = "start-pre" if unit.loaded is not None else "failed"

    def _run(self, service: str, unit: Unit) -> None:
        source = unit.loaded
        if source is None:
            unit.state = "failed"
            return
        unit.starts += 1
        self._note(service, unit, source)
        taken = {other.port: name for name, other in self.units.items() if other.up}
        unit.by = source
        if unit.port in taken:
            self.clashes.append(f"{service} and {taken[unit.port]}")
            self._fail(unit)
        else:
            unit.state = "starting"

    def _note(self, service: str, unit: Unit, source: str) -> None:
        """Leave a note of a start by a source that the manager has read, where that does so."""
        note = self.runtime_dir(UID) / f"{service.removesuffix('.service')}.started"
        on_disk = self.on_disk().get(service)
        is_read = on_disk == source and not unit.edited
        if "n=%t/%N.started;" not in source:  # the line that leaves the note
            unit.unsure = True
        elif not is_read and unit.noted == source:  # as the start before has left it
            kept = note.read_text().rstrip("\n").rpartition("\n")[0]
            note.write_text(f"{kept}\n{self._invocation(service)}\n")
        else:
            unit.unsure, unit.noted = not is_read, source
            said = f"{1 if is_read else 2}.{0:09}\n" if on_disk is not None else ""
            said += f"1.{0:09}\n{0:064x}\n{self._invocation(service)}\n"
            note.write_text(f"{on_disk or ''}\n{said}")

    def _invocation(self, service: str) -> str:
        unit = self.unit(service)
        return f"{unit.starts:032x}" if unit.starts else ""

    def is_ill(self, service: str) -> bool:
        """Whether a model can't come up by the unit by which it was started last."""
        return "--broken" in (self.unit(service).by or "") or service in self.ailing

    def _become_healthy(self, service: str, unit: Unit) -> None:
        if self.is_ill(service):
            self._fail(unit)
        else:
            unit.state, unit.tries = "active", 0

    def _fail(self, unit: Unit) -> None:
        unit.tries += 1
        unit.state = "failed" if unit.tries >= _TRIES else "auto-restart"

    def crash(self, service: str) -> None:
        """Have the engine of a model that is up end."""
        self._fail(self.unit(service))

    def restart(self, service: str) -> None:
        """Restart a model by hand, past its start limit."""
        unit = self.unit(service)
        unit.tries = 0
        self._begin(unit)

    def stop(self, service: str) -> None:
        self.unit(service).state = "inactive"

    def edit(self, service: str, text: str | None) -> None:
        """Have somebody write a unit by hand, or remove it."""
        self.unit(service).edited = True
        path = self.quadlet_dir(UID) / f"{service.removesuffix('.service')}.container"
        if text is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(text)

    def reload(self) -> None:
        """Have the user's manager read what is on the disk."""
        if MANAGER in self.down:
            return
        sources = self._read()
        for service in {*sources, *self.units}:
            unit = self.unit(service)
            unit.loaded = None if unit.masked else sources.get(service)
            unit.edited = False

    def stop_manager(self) -> None:
        """Stop the user's manager, and with it all that it runs."""
        self.down.add(MANAGER)
        for note in self.runtime_dir(UID).glob("*"):
            note.unlink()
        self.units = {}

    def start_manager(self) -> None:
        """Start the user's manager, which starts what is on the disk."""
        self.down.discard(MANAGER)
        sources = self._read()
        assert not has_cycle({service: after_in(text) for service, text in sources.items()})
        self.units = {
            service: Unit(loaded=text, state="queued") for service, text in sources.items()
        }

    def reboot(self) -> None:
        """Begin anew from what is on the disk."""
        self.stop_manager()
        self.start_manager()
        self.router = self._router_reads()

    def _router_reads(self) -> dict[str, Any] | None:
        """What llmhop makes of its configuration: None where it refuses it."""
        if not self.router_config.exists():
            return None
        config: dict[str, Any] = json.loads(self.router_config.read_text())
        refused = not config["models"] or config.get("maxHeaderBytes") == REFUSED
        return None if refused else config

    # What the generator does.

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        account: Account | None = None,
        check: bool = True,
        stdin: str | None = None,
    ) -> Finished:
        """Answer a command as `process.run` does."""
        if not {"show", "get-property"}.intersection(command):
            self.interrupt(next(word for word in command[1:] if not word.startswith("-")))
        match list(command):
            case ["systemctl", "--user", *words]:
                assert account is not None
                done = self._user(words)
            case ["systemctl", *words]:
                done = self._system(words)
            case ["busctl", *_]:
                done = Finished(0, json.dumps({"data": [["llmhop", self.router_command]]}), "")
            case ["podman", "image", "exists", image]:
                done = Finished(0 if image in self.images else 1, "", "")
            case ["podman", "run", *_]:
                done = Finished(125, "", "there is no vLLM that could be asked for its flags")
            case ["podman", "images", *_]:
                done = Finished(0, "[]", "")
            case ["podman", "ps", *_]:
                done = Finished(0, json.dumps(self._containers()), "")
            case ["journalctl", *_]:
                done = Finished(0, "", "")
            case _:
                raise AssertionError(command)
        if check and done.code != 0:
            raise GeneratorError(f"{command} failed")
        return done

    def follow(self, command: Sequence[str], **_: object) -> int:
        """Answer `podman pull`."""
        self.interrupt("pull")
        if self.pulls_fail:
            return 125
        self.images.add(command[2])
        return 0

    def _containers(self) -> list[dict[str, Any]]:
        return [
            {
                "Names": [service.removesuffix(".service")],
                "State": "running",
                "ImageID": "0" * 64,
                "Image": re.findall(r"^Image=(.*)$", unit.by or "", re.MULTILINE)[0],
                "Ports": [{"host_ip": "127.0.0.1", "container_port": 8000, "host_port": unit.port}],
            }
            for service, unit in self.units.items()
            if unit.up
        ]

    def _user(self, words: list[str]) -> Finished:
        if MANAGER in self.down:
            return Finished(1, "", "Failed to connect to bus: No such file or directory")
        units = [word for word in words[1:] if word.endswith(".service")]
        match words[0]:
            case "show":
                return Finished(0, "\n\n".join(map(self._shown, units)), "")
            case "daemon-reload":
                self.reload()
            case "reset-failed":
                for service in units:
                    unit = self.unit(service)
                    unit.tries = 0
                    unit.state = "inactive" if unit.state == "failed" else unit.state
            case "stop":
                self.orders += 1
                for service in units:
                    if self.stops_fail:
                        self.stops_fail = False
                        return Finished(1, "", f"Job for {service} canceled.")
                    self.stopped(service)
                    self.stop(service)
            case "start":
                self.orders += 1
                for service in units:
                    unit = self.unit(service)
                    if unit.state in ("inactive", "failed"):
                        unit.state = "queued"
                    if unit.state == "queued" and "--job-mode=ignore-dependencies" in words:
                        self._begin(unit)
            case _:
                raise AssertionError(words)
        return Finished(0, "", "")

    def _shown(self, service: str) -> str:
        unit = self.unit(service)
        active, sub, job = STATES[unit.state]
        load = "not-found" if unit.loaded is None else "loaded"
        load = "masked" if unit.masked else load
        on_disk = self.on_disk().get(service)
        found = {
            "LoadState": load,
            "UnitFileState": "masked" if unit.masked else "generated",
            "InvocationID": self._invocation(service),
            "ActiveState": active,
            "SubState": sub,
            "Job": job,
            "Result": "exit-code" if unit.state == "failed" else "success",
            "NRestarts": unit.tries,
            # Of a unit that it found nowhere the manager does not look again.
            "NeedDaemonReload": "no" if load != "loaded" or unit.loaded == on_disk else "yes",
        }
        return "\n".join(f"{key}={value}" for key, value in found.items())

    def _system(self, words: list[str]) -> Finished:
        match words:
            case ["show", "-p", _, "--", *units]:
                up = {"llmhop.socket": not self.lacks_socket, **dict.fromkeys(self.down, False)}
                up.setdefault("llmhop.service", self.router is not None)
                told = [
                    f"LoadState=loaded\n"
                    f"ActiveState={'active' if up.get(unit, True) else 'inactive'}\n"
                    f"MainPID={self.router_pid if unit == 'llmhop.service' else os.getpid()}"
                    for unit in units
                ]
                return Finished(0, "\n\n".join(told), "")
            case ["reset-failed", *_]:
                pass
            case ["start", unit]:
                assert unit == MANAGER
                self.start_manager()
            case ["restart", *sockets, "llmhop.service"]:
                self.lacks_socket = self.lacks_socket and not sockets
                self.router_pid = 0
                self.router = self._router_reads()
                if self.router is None:
                    return Finished(1, "", "refused")
            case ["is-system-running"]:
                return Finished(0, "stopping" if self.goes_down else "running", "")
            case ["reload-or-restart", "llmhop.service"] if self.goes_down:
                return Finished(1, "", "Transaction is destructive.")
            case ["reload-or-restart", "llmhop.service"]:
                config = self._router_reads()
                if config is None:
                    return Finished(1, "", "refused")
                if self.router is not None:  # this it takes only when it starts
                    config["workers"] = self.router.get("workers")
                self.router = config
            case ["--no-block", "try-reload-or-restart", "llmhop.service"]:
                self.router = self._router_reads() if self.router is not None else None
            case ["stop", *_]:
                self.router = None
            case _:
                raise AssertionError(words)
        return Finished(0, "", "")


REFUSED = 4321
"""What llmhop refuses as `maxHeaderBytes`."""
