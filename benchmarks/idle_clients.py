"""Connects many clients, each of which asks for /health once: idle_clients.py PORT NUMBER.

Prints a line when all were answered, and leaves when its input ends.
"""

from __future__ import annotations

import resource
import socket
import sys

_HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def main() -> None:
    """Run as the command line says."""
    port, number = map(int, sys.argv[1:])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = []
    for _ in range(number):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(_HEALTH)
        if not client.recv(4096).startswith(b"HTTP/1.1 200 "):
            sys.exit("a client was not answered")
        clients.append(client)
    print("connected", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
