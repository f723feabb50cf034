"""Several processes that serve the same addresses, started and watched by one that doesn't serve.

Invariants: this process has no event loop and no threads, so that it can fork; a worker that ends
is started again, later each time if it ends soon; systemd hears only from here, and what it hears
is true of all workers.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from llmhop import __version__, limits
from llmhop.config import Config
from llmhop.errors import ConfigError
from llmhop.listeners import Listeners, open_listeners
from llmhop.log import log
from llmhop.metric_cells import FAILED_RELOADS, RELOADS, WORKER_RESTARTS
from llmhop.metric_store import Metrics, MetricStore
from llmhop.notify import Notifier, watchdog_interval
from llmhop.server import new_pseudonym
from llmhop.service import SIGNALS, counted, read_again, run_worker, status


@dataclass(eq=False)
class _Worker:
    """A process, by what it said last. Times are of the monotonic clock."""

    pid: int
    slot: int
    channel: socket.socket
    started: float = field(default_factory=time.monotonic)
    heard: float = field(default_factory=time.monotonic)
    ready: bool = False
    reloading: bool = False
    reads: bool = False


def run(path: Path, config: Config) -> None:
    """Serve with `config.workers` processes until SIGTERM or SIGINT.

    Raises ConfigError where an address can't be bound; exits with 1 where workers don't start.
    """
    listeners = open_listeners(config.listen, config.socket_mode, reuse_port=True)
    _Supervisor(path, config, listeners).run()


class _Supervisor:
    def __init__(self, path: Path, config: Config, listeners: Listeners) -> None:
        self._path = path
        self._config = config
        self._listeners = listeners
        scheme = "http" if config.tls is None else "https"
        self._addresses = listeners.urls(scheme)
        self._notifier = Notifier()
        self._watchdog = watchdog_interval()
        self._next_ping = 0.0
        # A slot for each worker, and the last one for what is counted here.
        self._store = MetricStore(config.workers + 1)
        self._metrics = Metrics(self._store, config.workers, os.getpid())
        self._metrics.publish()
        self._pseudonym = new_pseudonym()
        self._workers: list[_Worker] = []
        self._starts: list[float] = [0.0] * config.workers
        self._failures = 0
        self._up = False
        self._reloading = False
        self._stop_by: float | None = None
        self._exit_code = 0
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_write = socket.socketpair()

    def run(self) -> None:
        """Supervise until every worker has ended after a signal."""
        for end in (self._wakeup, self._wakeup_write):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        for number in (*SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)  # the wakeup descriptor tells of it
        self._start_due()
        while self._stop_by is None or self._workers:
            for key, _ in self._selector.select(self._wait()):
                if key.data is None:
                    self._signalled()
                else:
                    self._listen_to(key.data)
            self._reap()
            self._tell()
            self._start_due()
        sys.exit(self._exit_code)

    # Workers.

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [start for start in self._starts if start <= now]
        if self._stop_by is None:
            self._starts = [start for start in self._starts if start > now]
            for _ in due:
                self._start_one(now)

    def _start_one(self, now: float) -> None:
        if self._stop_by is not None:
            return  # one before could not be started
        try:
            self._start()
        except OSError as error:
            self._start_another(f"a worker can't be started ({error.strerror})", now)

    def _start(self) -> None:
        slot = min(set(range(self._config.workers)) - {worker.slot for worker in self._workers})
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Until the worker has handlers of its own.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._become_worker(its, slot)
        except OSError:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            its.close()
        ours.setblocking(False)
        worker = _Worker(pid, slot, ours)
        self._workers.append(worker)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become_worker(self, channel: socket.socket, slot: int) -> NoReturn:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            self._selector.close()
            for other in (self._wakeup, self._wakeup_write, *(w.channel for w in self._workers)):
                other.close()
            channel.setblocking(False)
            watchdog = self._watchdog and self._watchdog / 2
            listeners = self._listeners.for_worker()
            metrics = Metrics(self._store, slot, os.getpid())
            run_worker(
                self._path,
                self._config,
                listeners,
                channel,
                watchdog,
                metrics,
                self._pseudonym,
            )
            code = 0
        except ConfigError as error:
            log(str(error))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def _listen_to(self, worker: _Worker) -> None:
        try:
            message = worker.channel.recv(4096)
        except BlockingIOError:
            return
        except ConnectionResetError:
            message = b""
        if not message:  # it is about to end
            self._selector.unregister(worker.channel)
            return
        worker.heard = time.monotonic()
        said = message.split(b"\n", 1)[0]
        if said == b"RELOADING=1":
            worker.reads = True
        elif said == b"READY=1":
            worker.ready = True
            if worker.reads:
                worker.reads = worker.reloading = False

    def _reap(self) -> None:
        for worker in list(self._workers):
            pid, code = os.waitpid(worker.pid, os.WNOHANG)
            if pid == 0:
                continue
            self._workers.remove(worker)
            if worker.channel.fileno() in self._selector.get_map():
                self._selector.unregister(worker.channel)
            worker.channel.close()
            self._store.ended(worker.slot)
            if self._stop_by is None:
                code = os.waitstatus_to_exitcode(code)
                how = f"by {signal.Signals(-code).name}" if code < 0 else f"with code {code}"
                early = "" if self._up else " before it served"
                self._start_another(f"worker {worker.pid} ended {how}{early}", worker.started)

    def _start_another(self, why: str, started: float) -> None:
        now = time.monotonic()
        if not self._up:
            log(f"{why}; giving up")
            self._exit_code = 1
            self._stop()
            return
        if now - started >= limits.WORKER_STABLE_S:
            self._failures = 0
        wait = min(limits.WORKER_WAIT_S * (2**self._failures - 1), limits.WORKER_LONGEST_WAIT_S)
        self._failures += 1
        log(f"{why}; another starts in {wait:g} s")
        self._starts.append(now + wait)
        self._count(WORKER_RESTARTS)

    # Signals.

    def _signalled(self) -> None:
        for number in self._wakeup.recv(1024):
            if number == signal.SIGHUP and self._stop_by is None:
                self._reload()
            elif number in (signal.SIGTERM, signal.SIGINT) and self._stop_by is None:
                log(f"stopping, {counted(len(self._workers), 'worker')}")
                self._stop()

    def _reload(self) -> None:
        self._notifier.reloading()
        self._reloading = True
        old = self._config
        self._config, messages = read_again(self._path, old)
        for message in messages:
            log(message)
        self._count(FAILED_RELOADS if self._config is old else RELOADS)
        if self._config is not old:
            for worker in self._workers:
                worker.reloading = True
            self._send(signal.SIGHUP)

    def _count(self, cell: int) -> None:
        self._metrics.process[cell] += 1
        self._metrics.publish()

    def _stop(self) -> None:
        self._notifier.stopping(f"waiting for {counted(len(self._workers), 'worker')}")
        # Or unix sockets would go on taking clients that nobody serves.
        self._listeners.close()
        self._stop_by = time.monotonic() + limits.DRAIN_S + limits.WORKER_END_S
        self._send(signal.SIGTERM)

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            os.kill(worker.pid, number)  # not reaped yet, so the id is still its own

    # What systemd hears.

    def _tell(self) -> None:
        now = time.monotonic()
        if self._stop_by is not None:
            if now >= self._stop_by:
                log(f"{counted(len(self._workers), 'worker')} did not end and was killed")
                self._send(signal.SIGKILL)
                self._stop_by = now + limits.WORKER_END_S
            return
        all_ready = len(self._workers) == self._config.workers and all(
            worker.ready and not worker.reloading for worker in self._workers
        )
        if not self._up and all_ready:
            self._up = True
            log(f"{__version__} {self._status()}")
            self._notifier.ready(self._status())
        elif self._reloading and not any(worker.reloading for worker in self._workers):
            self._reloading = False
            self._notifier.ready(self._status())
        if self._watchdog is not None and self._up and now >= self._next_ping:
            silent = [w for w in self._workers if now - w.heard > self._watchdog / 2]
            if not silent:
                self._notifier.notify("WATCHDOG=1")
            self._next_ping = now + self._watchdog / 4

    def _status(self) -> str:
        return f"{status(self._config, self._addresses)} with {self._config.workers} workers"

    def _wait(self) -> float | None:
        """How long nothing is to do, in seconds; None until something is heard."""
        times = [self._stop_by] if self._stop_by is not None else list(self._starts)
        if self._watchdog is not None and self._up and self._stop_by is None:
            times.append(self._next_ping)
        return max(0.0, min(times) - time.monotonic()) if times else None
