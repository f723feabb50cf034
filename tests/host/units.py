"""The part of the driver's machine methods that is built on `execute` alone."""

from __future__ import annotations

import shlex
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

from tests.host.errors import RequestedAssertionFailed
from tests.host.log import Log


def retry(fn: Callable[[bool], bool], timeout: float = 900, interval: float = 0.5) -> None:
    """Call `fn` until it returns true, once more (with True) when `timeout` s have passed.

    Raises RequestedAssertionFailed when that last call returns false too.
    """
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        if fn(False):
            return
        time.sleep(interval)
    if not fn(True):
        raise RequestedAssertionFailed(f"action timed out after {timeout:g} seconds")


class Units(ABC):
    """Commands, units, ports and files of a host that can `execute`."""

    def __init__(self, name: str, log: Log) -> None:
        self.name = name
        self.log = log
        self.last_errors = ""  # what the last command wrote to standard error

    @abstractmethod
    def execute(
        self,
        command: str,
        check_return: bool = True,
        check_output: bool = True,
        timeout: int | None = 900,
    ) -> tuple[int, str]:
        """Run a shell command as root; return its code and standard output."""

    def succeed(self, *commands: str, timeout: int | None = None) -> str:
        """Run commands that must end with 0; return their standard output, joined."""
        output = ""
        for command in commands:
            with self.log.nested(f"must succeed: {command}", self.name):
                code, text = self.execute(command, timeout=timeout)
            if code != 0:
                shown = "\n".join((text + self.last_errors).splitlines()[-40:])
                message = f"{self.name}: command `{command}` failed (exit code {code})"
                raise RequestedAssertionFailed(f"{message}\n{shown}")
            output += text
        return output

    def fail(self, *commands: str, timeout: int | None = None) -> str:
        """Run commands that must not end with 0; return their standard output, joined."""
        output = ""
        for command in commands:
            with self.log.nested(f"must fail: {command}", self.name):
                code, text = self.execute(command, timeout=timeout)
            if code == 0:
                message = f"{self.name}: command `{command}` unexpectedly succeeded"
                raise RequestedAssertionFailed(message)
            output += text
        return output

    def _wait(self, what: str, check: Callable[[bool], bool], timeout: int) -> None:
        """Retry `check`; a failure names the machine and `what`."""
        with self.log.nested(f"waiting for {what}", self.name):
            try:
                retry(check, timeout)
            except RequestedAssertionFailed as error:
                message = f"{self.name}: waiting for {what}: {error}"
                raise RequestedAssertionFailed(message) from None

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        """Repeat a command until it ends with 0; return its standard output."""
        output = ""

        def check(_last: bool) -> bool:
            nonlocal output
            code, output = self.execute(command, timeout=timeout)
            return code == 0

        self._wait(f"success: {command}", check, timeout)
        return output

    def wait_until_fails(self, command: str, timeout: int = 900) -> str:
        """Repeat a command until it does not end with 0; return its standard output."""
        output = ""

        def check(_last: bool) -> bool:
            nonlocal output
            code, output = self.execute(command, timeout=timeout)
            return code != 0

        self._wait(f"failure: {command}", check, timeout)
        return output

    def _wait_for_command(self, what: str, command: str, timeout: int, want: bool = True) -> None:
        self._wait(what, lambda _: (self.execute(command)[0] == 0) is want, timeout)

    def wait_for_file(self, filename: str, timeout: int = 900) -> None:
        """Wait until `filename` exists."""
        self._wait_for_command(f"file {filename}", f"test -e {filename}", timeout)

    def wait_for_open_port(self, port: int, addr: str = "localhost", timeout: int = 900) -> None:
        """Wait until something listens on the TCP port."""
        self._wait_for_command(f"TCP port {port} on {addr}", f"nc -z {addr} {port}", timeout)

    def wait_for_closed_port(self, port: int, addr: str = "localhost", timeout: int = 900) -> None:
        """Wait until nothing listens on the TCP port."""
        what = f"TCP port {port} on {addr} to be closed"
        self._wait_for_command(what, f"nc -z {addr} {port}", timeout, want=False)

    def wait_for_open_unix_socket(
        self, addr: str, is_datagram: bool = False, timeout: int = 900
    ) -> None:
        """Wait until something listens on the UNIX-domain socket."""
        flags = "-zuU" if is_datagram else "-zU"
        self._wait_for_command(f"socket {addr}", f"nc {flags} {addr}", timeout)

    def sleep(self, secs: float) -> None:
        """Sleep in the host."""
        self.succeed(f"sleep {secs}")

    def systemctl(self, query: str, user: str | None = None) -> tuple[int, str]:
        """Run ``systemctl``, for the manager of `user` where one is given."""
        if user is not None:
            return self.execute(f"systemctl --user -M {shlex.quote(user)}@.host {query}")
        return self.execute(f"systemctl {query}")

    def start_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """Start a unit."""
        return self.systemctl(f"start {jobname}", user)

    def stop_job(self, jobname: str, user: str | None = None) -> tuple[int, str]:
        """Stop a unit."""
        return self.systemctl(f"stop {jobname}", user)

    def get_unit_info(self, unit: str, user: str | None = None) -> dict[str, str]:
        """The properties of a unit, as ``systemctl show`` prints them."""
        code, text = self.systemctl(f'--no-pager show "{unit}"', user)
        if code != 0:
            raise RequestedAssertionFailed(
                f"{self.name}: systemctl show {unit} failed (exit code {code}): {self.last_errors}"
            )
        pairs = (line.partition("=") for line in text.splitlines())
        return {key: value for key, equals, value in pairs if equals}

    def get_unit_property(self, unit: str, property: str, user: str | None = None) -> str:
        """The value of one property of a unit."""
        code, text = self.systemctl(f'--no-pager show "{unit}" --property="{property}"', user)
        key, equals, value = text.rstrip("\n").partition("=")
        if code != 0 or key != property or not equals:
            raise RequestedAssertionFailed(
                f"{self.name}: no property {property} of {unit} (exit code {code}): "
                f"{text}{self.last_errors}"
            )
        return value

    def require_unit_state(self, unit: str, require_state: str = "active") -> None:
        """Raise RequestedAssertionFailed unless the unit's state is `require_state`."""
        state = self.get_unit_info(unit)["ActiveState"]
        if state != require_state:
            raise RequestedAssertionFailed(
                f"{self.name}: expected unit {unit} to be in state {require_state!r}, "
                f"but it is in state {state!r}"
            )

    def wait_for_unit(self, unit: str, user: str | None = None, timeout: int = 900) -> None:
        """Wait until a unit is active.

        Raises RequestedAssertionFailed when it has failed, when it is inactive and no job
        is queued, or after `timeout` seconds.
        """

        def check(_last: bool) -> bool:
            state = self.get_unit_property(unit, "ActiveState", user)
            if state == "failed":
                raise RequestedAssertionFailed(f"unit {unit} reached state {state!r}")
            if state == "inactive":
                _, jobs = self.systemctl("list-jobs --full 2>&1", user)
                # The unit may have started between the two questions: ask again.
                again = self.get_unit_property(unit, "ActiveState", user)
                if "No jobs" in jobs and again == state:
                    message = f"unit {unit} is inactive and there are no pending jobs"
                    raise RequestedAssertionFailed(message)
            return state == "active"

        self._wait(f"unit {unit}" + (f" of user {user}" if user else ""), check, timeout)
