"""A worker as its supervisor sees it: the process, its channel, and its last message."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from llmhop import limits
from llmhop.config.config import Config
from llmhop.config.findings import ConfigError
from llmhop.log.faults import log_fault
from llmhop.log.logger import LOG, log
from llmhop.observe.metric_store import Metrics, MetricStore
from llmhop.process.listeners import Listeners
from llmhop.process.service import SIGNALS, UNUSED_SIGNALS
from llmhop.quota.quotas import Quotas
from llmhop.quota.store import QuotaStore
from llmhop.workers import worker
from llmhop.workers.channel import Channel
from llmhop.workers.messages import FromSupervisor, FromWorker


def wait_before_start(failures: int) -> float:
    """How many seconds the next start waits after so many workers that ended soon."""
    doubled = min(failures, 32)  # far beyond the longest wait, and still a number for a float
    wait: float = limits.WORKER_WAIT_S * (2**doubled - 1)
    return min(wait, limits.WORKER_LONGEST_WAIT_S)


class Closable(Protocol):
    """Something open that is not for a worker."""

    def close(self) -> None:
        """Close it."""


class WorkerProcess:
    """A process that runs, or ended and waits to be reaped. Times are of the monotonic clock."""

    def __init__(
        self, pid: int, slot: int, sock: socket.socket, selector: selectors.BaseSelector
    ) -> None:
        self.pid = pid
        self.slot = slot
        self.started = self.heard = time.monotonic()
        self.serves = False
        self.channel: Channel[FromWorker, FromSupervisor] = Channel(
            sock, FromWorker, self._want_write
        )
        self._selector = selector
        selector.register(sock, selectors.EVENT_READ, self)

    @property
    def is_watched(self) -> bool:
        """Whether it is listened to; where not, its end was seen to be near."""
        return self.channel.socket in self._selector.get_map()

    def unwatch(self) -> None:
        """Listen to it no more."""
        if self.is_watched:
            self._selector.unregister(self.channel.socket)

    def close(self) -> None:
        """Close the way to it."""
        self.unwatch()
        self.channel.socket.close()

    def _want_write(self, wanted: bool) -> None:
        if self.is_watched:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if wanted else 0)
            self._selector.modify(self.channel.socket, events, self)


@dataclass(frozen=True)
class Starter:
    """What a worker starts with. `inherited` is open in the supervisor and closed in it."""

    config: Config
    listeners: Listeners
    store: MetricStore
    quotas: QuotaStore
    pseudonym: bytes
    watchdog: float | None
    inherited: Iterable[Closable] = field(repr=False)

    def fork(self, slot: int, selector: selectors.BaseSelector) -> WorkerProcess:
        """Start a worker that counts in `slot` of the stores. Raises OSError."""
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
        return WorkerProcess(pid, slot, ours, selector)

    def _become_worker(self, sock: socket.socket, slot: int) -> NoReturn:
        code = 1
        try:
            LOG.forked()
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            for number in UNUSED_SIGNALS:
                signal.signal(number, signal.SIG_IGN)
            for other in self.inherited:
                other.close()
            watchdog = self.watchdog and self.watchdog / 2
            listeners = self.listeners.for_worker()
            metrics = Metrics(self.store, slot, os.getpid())
            quotas = Quotas(self.quotas, slot)
            worker.run(self.config, listeners, sock, watchdog, metrics, self.pseudonym, quotas)
            code = 0
        except ConfigError as error:
            log(str(error))
        except BaseException as error:
            log_fault("a worker", error)
        finally:
            LOG.close()
            os._exit(code)
