"""Opens connections to backends. The one step of a request that is a coroutine, and not compiled.

Coroutines that mypyc compiles hand exceptions on in a way that Python deprecated in 3.12 (`throw`
with three arguments): where warnings are errors, who waits for one waits for ever.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import cache

from llmhop.health import Health
from llmhop.upstream import UpstreamConnection
from llmhop.urls import Origin


@cache
def tls_context() -> ssl.SSLContext:
    """Return the context for https backends: the system's authorities, HTTP/1.1."""
    # Reading the system's certificates takes 20 ms and 10 MB: only for who has an https backend.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(
    origin: Origin, health: Health, new_connection: Callable[[], UpstreamConnection]
) -> UpstreamConnection:
    """Open a connection and note in `health` whether that went well.

    Raises OSError, which TimeoutError is, and UnicodeError.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(origin.connect_timeout):
            if origin.socket is not None:
                _, connection = await loop.create_unix_connection(new_connection, origin.socket)
            else:
                tls = tls_context() if origin.tls else None
                _, connection = await loop.create_connection(
                    new_connection, origin.host, origin.port, ssl=tls
                )
    except (OSError, UnicodeError):
        health.failed(loop.time())
        raise
    health.succeeded()
    return connection
