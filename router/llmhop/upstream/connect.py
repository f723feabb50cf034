"""Opens connections to backends. A coroutine, and so not compiled.

Coroutines that mypyc compiles hand exceptions on in a way that Python deprecated in 3.12 (`throw`
with three arguments): where warnings are errors, a task that awaits one waits for ever.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from llmhop.config.backend_url import Origin
from llmhop.limits import UNIX_RETRY_S
from llmhop.upstream.lookup import LOOKUPS, Addresses

Protocol = TypeVar("Protocol", bound=asyncio.BaseProtocol)


@cache
def tls_context() -> ssl.SSLContext:
    """Return the context for https backends: the system's authorities, HTTP/1.1."""
    # Reading the system's certificates takes 20 ms and 10 MB: only where a backend is https.
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


async def connect(origin: Origin, new_protocol: Callable[[], Protocol]) -> Protocol:
    """Open a connection. Raises OSError, which TimeoutError is, and UnicodeError."""
    async with asyncio.timeout(origin.connect_timeout):
        if origin.socket is not None:
            return await _connect_to_unix(origin.socket, new_protocol)
        if origin.address is not None or not origin.is_name:
            return await _connect_to(origin.address or origin.host, origin, new_protocol)
        return await _connect_to_any(await LOOKUPS.addresses(origin.host), origin, new_protocol)


async def _connect_to_unix(path: str, new_protocol: Callable[[], Protocol]) -> Protocol:
    """Try until there is room in the queue of the listener.

    connect(2): a unix socket does not wait for that, as one of TCP does, and says EAGAIN; nothing
    tells when there is room.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            _, protocol = await loop.create_unix_connection(new_protocol, path)
        except BlockingIOError:
            await asyncio.sleep(UNIX_RETRY_S)
        else:
            return protocol


async def _connect_to_any(
    addresses: Addresses, origin: Origin, new_protocol: Callable[[], Protocol]
) -> Protocol:
    """Try one address after the other, as asyncio does with those of a name."""
    errors = []
    for address in addresses:
        try:
            return await _connect_to(address, origin, new_protocol)
        except ssl.SSLError:
            raise
        except OSError as error:
            errors.append(error)
    if len({str(error) for error in errors}) == 1:
        raise errors[0]
    raise OSError("; ".join(map(str, errors)))


async def _connect_to(
    address: str, origin: Origin, new_protocol: Callable[[], Protocol]
) -> Protocol:
    tls = tls_context() if origin.tls else None
    _, protocol = await asyncio.get_running_loop().create_connection(
        new_protocol, address, origin.port, ssl=tls, server_hostname=origin.host if tls else None
    )
    return protocol
