"""Names in place of those that the system's resolver knows."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest


class Names(dict[str, list[str]]):
    """The addresses of each name; lookups of those in `hanging` end at an `answer`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.hanging: set[str] = set()
        self.running: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.most = 0
        """How many lookups of one name ran at once."""
        self._changed = threading.Condition()
        self._answers = 0
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._getaddrinfo)

    def answer(self) -> None:
        """Have every lookup that hangs answered; later ones hang again."""
        with self._changed:
            self._answers += 1
            self._changed.notify_all()

    def release(self) -> None:
        """Let no lookup hang any more."""
        self.hanging.clear()
        self.answer()

    def _getaddrinfo(self, host: str, *more: Any, **named: Any) -> list[Any]:
        if _is_address(host):
            return list(self._real(host, *more, **named))
        with self._changed:
            self.begun[host] += 1
            self.running[host] += 1
            self.most = max(self.most, self.running[host])
            answers = self._answers
            self._changed.wait_for(lambda: host not in self.hanging or self._answers > answers)
            self.running[host] -= 1
            addresses = self.get(host)
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        # Each address comes once for every kind of socket, in no order.
        return [(2, 1, 6, "", (address, 0)) for address in reversed(addresses * 2)]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
