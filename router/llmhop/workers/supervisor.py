"""Several processes that serve the same addresses, started and watched by one that doesn't serve.

Invariants: this process has no event loop and no threads, so that it can fork; it reads the config
and the workers get it from here; a worker that ends is started again, later each time if it ends
soon; systemd hears only from here, and what it hears is true of all workers.
"""

from __future__ import annotations

import os
import pickle
import selectors
import signal
import socket
import sys
import time
from functools import partial
from pathlib import Path

from llmhop import __version__, limits
from llmhop.config.config import Config
from llmhop.config.load import load
from llmhop.log.faults import attempt, attempt_each
from llmhop.log.logger import LOG, log
from llmhop.observe.metric_layout import DROPPED_LOG_LINES, FAILED_RELOADS, RELOADS, WORKER_RESTARTS
from llmhop.observe.metric_store import Metrics, MetricStore
from llmhop.process.listeners import Listeners, open_listeners
from llmhop.process.notify import Notifier, watchdog_interval
from llmhop.process.server import new_pseudonym
from llmhop.process.service import (
    SIGNALS,
    UNUSED_SIGNALS,
    counted,
    log_few_places,
    log_openness,
    log_unused,
    read_again,
    status,
)
from llmhop.quota.store import QuotaStore
from llmhop.workers.messages import (
    Acquire,
    Admitted,
    ConfigApplied,
    ConfigPart,
    ConfigRejected,
    EndDrain,
    FromWorker,
    QueueFull,
    Release,
    Serving,
    StopWaiting,
    config_parts,
)
from llmhop.workers.rollout import Rollout
from llmhop.workers.shared_gates import SharedGates
from llmhop.workers.worker_process import Closable, Starter, WorkerProcess, wait_before_start


def _how(code: int) -> str:
    if code >= 0:
        return f"with code {code}"
    known = {number.value: number.name for number in signal.Signals}  # not the real-time ones
    return f"by {known.get(-code, f'signal {-code}')}"


def run(path: Path, config: Config) -> None:
    """Serve with `config.workers` processes until SIGTERM or SIGINT.

    Raises ConfigError where an address can't be bound; exits with 1 where workers don't start.
    """
    listeners = open_listeners(config.addresses, config.socket_mode, reuse_port=True)
    _Supervisor(path, config, listeners).run()


class _Supervisor:
    def __init__(self, path: Path, config: Config, listeners: Listeners) -> None:
        self._path = path
        self._config = config
        self._listeners = listeners
        scheme = "http" if config.tls is None else "https"
        self._addresses = listeners.urls(scheme)
        self._open_addresses = listeners.open_urls(scheme)
        self._notifier = Notifier()
        self._watchdog = watchdog_interval()
        self._next_ping = 0.0
        # A slot for each worker, and the last one for what is counted here.
        self._store = MetricStore(config.workers + 1)
        self._metrics = Metrics(self._store, config.workers, os.getpid())
        self._metrics.publish()
        self._quotas = QuotaStore(config.workers)
        self._pseudonym = new_pseudonym()
        self._workers: dict[int, WorkerProcess] = {}
        self._starts: list[float] = [0.0] * config.workers
        self._failures = 0
        self._places = SharedGates(self._answer)
        self._places.serve(config.models)
        self._rollout = Rollout()
        self._reload_due = False
        self._up = False
        self._status = ""
        self._refused = False
        self._stop_by: float | None = None
        self._parts: list[ConfigPart] = []
        self._exit_code = 0
        self._selector = selectors.DefaultSelector()
        self._signals: set[int] = set()
        self._ended_due = False
        # What is due is looked for whenever something was heard.
        self._regular = (
            *(self._signalled, self._reap, self._reload, self._start_due, self._notify_status),
            *(self._notifier.resume, self._log_on),
        )
        self._wakeup, self._wakeup_write = socket.socketpair()

    def run(self) -> None:
        """Supervise until every worker has ended after a signal."""
        for end in (self._wakeup, self._wakeup_write):
            end.setblocking(False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        for number in (*SIGNALS, *UNUSED_SIGNALS, signal.SIGCHLD):
            signal.signal(number, lambda number, _: self._signals.add(number))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        log_few_places(self._config)
        self._start_due()
        while self._stop_by is None or self._workers:
            heard = self._selector.select(self._wait())
            steps = [partial(self._serve, key.data, events) for key, events in heard]
            steps += map(partial, self._regular)
            went_well = [attempt("a step of the supervisor", step) for step in steps]
            if not all(went_well):
                time.sleep(limits.FAULT_PAUSE_S)
        signal.pthread_sigmask(signal.SIG_BLOCK, (*SIGNALS, *UNUSED_SIGNALS))  # all is over
        sys.exit(self._exit_code)

    # Workers.

    def _start_due(self) -> None:
        now = time.monotonic()
        due = [start for start in self._starts if start <= now]
        self._starts = [start for start in self._starts if start > now]
        for _ in due:
            if self._stop_by is None:  # one before could not be started
                self._start(now)

    def _start(self, now: float) -> None:
        slots = {worker.slot for worker in self._workers.values()}
        slot = min(set(range(self._config.workers)) - slots)
        inherited: list[Closable] = [self._selector, self._wakeup, self._wakeup_write]
        inherited += [worker.channel.socket for worker in self._workers.values()]
        starter = Starter(
            self._config,
            self._listeners,
            self._store,
            self._quotas,
            self._pseudonym,
            self._watchdog,
            inherited,
        )
        try:
            worker = starter.fork(slot, self._selector)
        except OSError as error:
            self._start_another(f"a worker can't be started ({error.strerror})", now)
            return
        self._workers[worker.pid] = worker
        self._rollout.started(worker.pid)

    def _serve(self, worker: WorkerProcess | None, events: int) -> None:
        if worker is None:
            self._wakeup.recv(1024)
            return
        if events & selectors.EVENT_WRITE:
            worker.channel.flush()
        if events & selectors.EVENT_READ:
            try:
                message = worker.channel.receive()
            except EOFError:  # it is about to end, of which no signal may tell
                worker.unwatch()
                self._ended_due = True
                return
            if message is not None:
                worker.heard = time.monotonic()
                self._handle_message(worker, message)

    def _handle_message(self, worker: WorkerProcess, message: FromWorker) -> None:
        if isinstance(message, Acquire):
            self._places.acquire(worker.pid, message.ticket, message.model)
        elif isinstance(message, Release):
            self._places.release(worker.pid, message.ticket)
        elif isinstance(message, StopWaiting):
            self._places.stop_waiting(worker.pid, message.ticket)
        elif isinstance(message, Serving):
            worker.serves = True
        elif isinstance(message, ConfigApplied):
            if self._rollout.taken(worker.pid):
                log(f"worker {worker.pid} has taken the new config now")
        elif isinstance(message, ConfigRejected):
            log(f"worker {worker.pid} can't take the new config ({message.reason}) and stops")
            self._rollout.failed(worker.pid)
            worker.serves = False
            os.kill(worker.pid, signal.SIGTERM)

    def _answer(self, pid: int, message: Admitted | QueueFull) -> None:
        self._workers[pid].channel.send(message)

    def _reap(self) -> None:
        if self._ended_due:
            workers = list(self._workers.values())
            well = attempt_each("the end of a worker", workers, self._reap_one)
            left = self._workers.values()
            self._ended_due = not well or not all(worker.is_watched for worker in left)

    def _reap_one(self, worker: WorkerProcess) -> None:
        pid, code = os.waitpid(worker.pid, os.WNOHANG)
        if pid == 0:
            return
        del self._workers[pid]
        worker.close()
        self._rollout.ended(pid)
        # Not before: its connections to backends may be open for longer than its channel.
        self._places.ended(pid)
        self._store.ended(worker.slot)
        self._quotas.ended(worker.slot)
        if self._stop_by is None:
            code = os.waitstatus_to_exitcode(code)
            early = "" if self._up else " before it served"
            self._start_another(f"worker {pid} ended {_how(code)}{early}", worker.started)

    def _start_another(self, why: str, started: float) -> None:
        now = time.monotonic()
        if not self._up:
            log(f"{why}; giving up")
            self._exit_code = 1
            self._stop()
            return
        if now - started >= limits.WORKER_STABLE_S:
            self._failures = 0
        wait = wait_before_start(self._failures)
        self._failures += 1
        log(f"{why}; another starts in {wait:g} s")
        self._starts.append(now + wait)
        self._count(WORKER_RESTARTS)

    # Signals.

    def _signalled(self) -> None:
        # Flags, because a pipe that is full would lose the one that matters.
        signals, self._signals = self._signals, set()
        self._ended_due = self._ended_due or signal.SIGCHLD in signals
        for unused in signals & set(UNUSED_SIGNALS):
            log_unused(unused)
        if signals & {signal.SIGTERM, signal.SIGINT}:
            if self._stop_by is None:
                log(f"stopping, {counted(len(self._workers), 'worker')}")
                self._stop()
            else:
                self._end_drain()
        elif signal.SIGHUP in signals:
            self._reload_due = True

    def _reload(self) -> None:
        """Begin a reload that is due, or end the one that is under way: never two at once."""
        if self._stop_by is not None or not self._up:
            return
        if self._reload_due and self._rollout.deadline is None:
            self._reload_due = False
            self._notifier.reloading()
            config = read_again(partial(load, self._path, may_wait=False), self._config)
            self._refused = config is None
            if config is None:
                self._reloaded(FAILED_RELOADS)
            else:
                self._config = config
                self._parts = config_parts(pickle.dumps(config))
                self._places.serve(config.models)
                self._rollout.begin(time.monotonic() + limits.RELOAD_S)
        for pid in self._rollout.to_send():
            for part in self._parts:
                self._workers[pid].channel.send(part)
        outcome = self._rollout.outcome(time.monotonic())
        if outcome is None:
            return
        for pid in outcome.silent:
            log(f"worker {pid} does not answer and serves by the old config until it does")
        if outcome.good:
            log(f"reloaded, serves {counted(len(self._config.models), 'model')}")
            log_few_places(self._config)
            log_openness(self._config, self._open_addresses)
        else:
            log(f"reload incomplete: {self._line()}")
        self._reloaded(RELOADS if outcome.good else FAILED_RELOADS)

    def _reloaded(self, index: int) -> None:
        self._count(index)
        self._status = self._line()
        self._notifier.ready(self._status)

    def _count(self, index: int, number: int = 1) -> None:
        self._metrics.process[index] += number
        self._metrics.publish()

    def _stop(self) -> None:
        drain_timeout = self._config.drain_timeout
        self._stop_by = time.monotonic() + drain_timeout + limits.WORKER_END_S
        self._status = self._line()
        self._notifier.stopping(self._status, drain_timeout)
        # Or unix sockets would go on taking clients that nobody serves.
        self._listeners.close()
        self._send(signal.SIGTERM)

    def _end_drain(self) -> None:
        # Not by another signal: systemd, or a terminal, sends each to the workers, too.
        self._stop_by = time.monotonic() + limits.WORKER_END_S
        for worker in self._workers.values():
            worker.channel.send(EndDrain())

    def _send(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)  # not reaped yet, so the id is still its own

    # What systemd hears.

    def _notify_status(self) -> None:
        now = time.monotonic()
        if self._stop_by is not None:
            if self._workers and now >= self._stop_by:
                were = "was" if len(self._workers) == 1 else "were"
                log(f"{counted(len(self._workers), 'worker')} did not end and {were} killed")
                self._send(signal.SIGKILL)
                self._stop_by = now + limits.WORKER_END_S
        elif not self._up:
            if self._serving() < self._config.workers:
                return
            self._up = True
            self._status = self._line()
            log(f"{__version__} {self._status}")
            log_openness(self._config, self._open_addresses)
            self._notifier.ready(self._status)
        line = self._line()
        if line != self._status and self._rollout.deadline is None:
            self._status = line
            self._notifier.status(line)
        if self._watchdog is not None and self._stop_by is None and now >= self._next_ping:
            least = now - self._watchdog / 2
            if all(worker.heard >= least for worker in self._workers.values()):
                self._notifier.alive()
            self._next_ping = now + self._watchdog / 4

    def _log_on(self) -> None:
        """Go on writing the log, and count what was lost of it."""
        LOG.sweep()
        dropped = LOG.take_dropped()
        if dropped:
            self._count(DROPPED_LOG_LINES, dropped)

    def _serving(self) -> int:
        """How many workers serve, by the latest config."""
        workers = self._workers.values()
        return sum(worker.serves and self._rollout.serves(worker.pid) for worker in workers)

    def _line(self) -> str:
        if self._stop_by is not None:
            return f"waiting for {counted(len(self._workers), 'worker')}"
        serving, all_ = self._serving(), self._config.workers
        of = f"{serving} of {all_}" if serving < all_ else f"{all_}"
        line = status(self._config, self._addresses, refused=self._refused)
        return f"{line} with {of} workers"

    def _wait(self) -> float | None:
        """How long nothing is to do, in seconds; None until something is heard."""
        if self._stop_by is not None:
            times = [self._stop_by]
        else:
            times = list(self._starts)
            if self._rollout.deadline is not None:
                times.append(self._rollout.deadline)
            elif self._reload_due and self._up:
                times.append(0.0)
            if self._watchdog is not None and self._up:
                times.append(self._next_ping)
        if self._ended_due:  # one could not be reaped yet
            times.append(time.monotonic() + limits.FAULT_PAUSE_S)
        if LOG.waits or self._notifier.waits:
            times.append(time.monotonic() + limits.SWEEP_S)
        return max(0.0, min(times) - time.monotonic()) if times else None
