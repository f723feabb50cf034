"""Upgrades: the one to WebSockets, the only one that is relayed (RFC 6455 section 4).

Any other is dropped and the request served as it is, which RFC 9110 section 7.8 allows. After one
to h2c, say, a client could send requests that are not inspected: without a token, to any path.
"""

from __future__ import annotations

from llmhop.http.fields.known_fields import Field, KnownFields

TO_WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
"""The fields of a request or response by which a connection becomes a WebSocket."""

_PROTOCOL = b"sec-websocket-protocol"
_KEY_PREFIX = b"openai-insecure-api-key."


def is_to_websocket(known: KnownFields) -> bool:
    """Whether a connection is to become a WebSocket, nothing else, by the fields of its head."""
    return known.upgrades == [b"websocket"] and b"upgrade" in known.nominated


def take_key(fields: list[Field]) -> tuple[list[Field], list[Field], bytes | None]:
    """Split the fields of a handshake in those without the key, those with it; and the key.

    A browser can set no Authorization here, so it sends its key among the subprotocols, as the
    OpenAI Realtime API has it: `realtime, openai-insecure-api-key.KEY`. Two keys are no valid one.
    """
    others: list[Field] = []
    with_key: list[Field] = []
    all_keys: list[bytes] = []
    for field in fields:
        if field[0] != _PROTOCOL or _KEY_PREFIX not in field[2]:
            others.append(field)
            continue
        keys: list[bytes] = []
        protocols: list[bytes] = []
        for offered in field[2].split(b","):
            protocol = offered.strip(b" \t")
            (keys if protocol.startswith(_KEY_PREFIX) else protocols).append(protocol)
        all_keys += keys
        for part, offers in ((others, protocols), (with_key, keys)):
            if offers:
                part.append((field[0], field[1], b", ".join(offers)))
    if not all_keys:
        return others, with_key, None
    return others, with_key, all_keys[0].removeprefix(_KEY_PREFIX) if len(all_keys) == 1 else b""
