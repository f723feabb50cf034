"""A booted host with the methods that machines of NixOS's test driver have.

Names, defaults and results follow nixos/lib/test-driver in nixpkgs, so that one scenario
script runs on both. Two things differ: `start` returns when the host can run commands, and
`systemctl` with a user talks to that user's manager through ``-M user@.host``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.host.boot import Boot
from tests.host.errors import MachineError, RequestedAssertionFailed
from tests.host.log import Log
from tests.host.units import Units, retry

SHARED = Path("/mnt/shared")  # the host's view of Boot.shared


class Machine(Units):
    """One host. `prepare` is called once, after the first boot."""

    def __init__(
        self,
        name: str,
        root: Path,
        scratch: Path,
        *,
        out_dir: Path | None = None,
        log: Log | None = None,
        prepare: Callable[[Machine], None] | None = None,
    ) -> None:
        super().__init__(name, log or Log())
        self.out_dir = out_dir or Path.cwd()
        self._root, self._scratch, self._prepare = root, scratch, prepare
        self._boot: Boot | None = None

    @property
    def booted(self) -> bool:
        """Whether the host runs."""
        return self._boot is not None and self._boot.is_up()

    def is_up(self) -> bool:
        """Whether the host runs."""
        return self.booted

    @property
    def shared(self) -> Path:
        """A directory of this machine that the host sees as /mnt/shared."""
        return self._keeper().shared

    def _keeper(self) -> Boot:
        if self._boot is None:
            raise MachineError(f"{self.name} was never started")
        return self._boot

    def start(self, allow_reboot: bool = True) -> None:
        """Boot the host, unless it runs, and wait until it can run commands.

        `allow_reboot` is there for NixOS's sake: this host can always reboot.
        Raises MachineError, with the end of the console's text, when it does not come up.
        """
        if self.booted:
            return
        with self.log.nested("booting", self.name):
            if self._boot is None:
                self._boot = Boot(self.name, self._root, self._scratch)
            self._boot.boot()
            self._wait_until_reachable()
        if self._prepare is not None:
            prepare, self._prepare = self._prepare, None
            prepare(self)

    def _wait_until_reachable(self) -> None:
        """Wait until logins are allowed, as NixOS's driver waits for its shell."""
        units = "basic.target dbus.socket systemd-logind.service systemd-user-sessions.service"

        def reachable(_last: bool) -> bool:
            return self.execute(f"systemctl is-active {units}", timeout=10)[0] == 0

        try:
            retry(reachable, 120, interval=0.1)
        except RequestedAssertionFailed:
            text = self._keeper().console_tail()
            raise MachineError(f"{self.name} did not finish booting; console:\n{text}") from None

    def wait_for_shutdown(self) -> None:
        """Wait until the host has powered off."""
        if self._boot is not None:
            self._boot.wait_for_end()

    def shutdown(self) -> None:
        """Power the host off in an orderly way and wait for its end. Its files stay."""
        if self.booted:
            self.execute("systemctl poweroff", check_return=False)
            self.wait_for_shutdown()

    def crash(self) -> None:
        """End the host at once, as a power failure does. Its files stay."""
        if self.booted:
            self._keeper().kill()

    def reboot(self) -> None:
        """Reboot in an orderly way and wait until the host can run commands again."""
        with self.log.nested("rebooting", self.name):
            self.execute("systemctl reboot", check_return=False)
            self._keeper().wait_for_reboot()
            self._wait_until_reachable()

    def release(self) -> None:
        """End the host and remove all that it consisted of."""
        if self._boot is not None:
            self._boot.close()
            self._boot = None

    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]:
        """Run a shell command as root in the host; return its code and standard output.

        It runs under ``set -euo pipefail`` in a clean environment. The call waits until
        standard output is closed, or for `timeout` seconds, after which the code is 124.
        Without `check_return` the code is -1; without `check_output` the call does not wait
        and the result is (-2, "").
        """
        if self._boot is None:
            self.start()
        words = ["bash", "-c", f"set -euo pipefail; {command}"]
        if timeout is not None:
            words = ["timeout", str(timeout), *words]
        keeper = self._keeper()
        if not check_output:
            keeper.spawn(words)
            return -2, ""
        with tempfile.TemporaryFile() as errors:
            code, output = keeper.run(words, errors)
            errors.seek(0)
            self.last_errors = errors.read().decode(errors="replace")
        for line in self.last_errors.splitlines():
            self.log.log(line, self.name)
        return (code if check_return else -1), output.decode(errors="replace")

    def share(self, source: Path) -> Path:
        """Show the file `source` to the host read-only; return its path there. No copy is
        made where a hard link can serve.
        """
        place = Path(tempfile.mkdtemp(dir=self.shared))
        place.chmod(0o755)
        target = place / source.name
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy(source, target)
        return SHARED / place.name / source.name

    def copy_from_host(self, source: str, target: str) -> None:
        """Copy a file or directory of this machine into the host, owned by its root."""
        origin = Path(source)
        with tempfile.TemporaryDirectory(dir=self.shared) as between:
            copy = Path(between) / origin.name
            if origin.is_dir():
                shutil.copytree(origin, copy)
            else:
                shutil.copy(origin, copy)
            inside = SHARED / Path(between).name / origin.name
            parent = shlex.quote(str(Path(target).parent))
            self.succeed(f"mkdir -p {parent}")
            self.succeed(f"cp -r {shlex.quote(str(inside))} {shlex.quote(target)}")

    def copy_from_vm(self, source: str, target_dir: str = "") -> None:
        """Copy a file or directory of the host into `out_dir`/`target_dir`."""
        origin = Path(source)
        with tempfile.TemporaryDirectory(dir=self.shared) as between:
            inside = SHARED / Path(between).name
            self.succeed(f"cp -r {shlex.quote(source)} {shlex.quote(str(inside))}/")
            target = self.out_dir / target_dir / origin.name
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = Path(between) / origin.name
            if copy.is_dir():
                shutil.copytree(copy, target)
            else:
                shutil.copy(copy, target)

    # The name that NixOS's driver gives it since 26.05.
    copy_from_machine = copy_from_vm
