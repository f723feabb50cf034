"""The keys of the config: the one list that the parser, `--schema` and the documents follow.

What a JSON Schema can say about a value stands here; the rest (secrets that resolve, names that
collide, hosts that are hosts) is the parser's to check. Each key may be null, which stands for a
key that is not given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from llmhop.config.listen_address import DEFAULT_HOST, DEFAULT_PORT
from llmhop.limits import (
    CLIENT_BODY_S,
    CONNECT_TIMEOUT_S,
    DEFAULT_DRAIN_S,
    DEFAULT_MAX_BODY_BYTES,
    DEFAULT_MAX_BUFFERED_BYTES,
    DEFAULT_MAX_CONNECTIONS,
    DEFAULT_MAX_QUEUED,
    DEFAULT_MIN_UPLOAD_RATE,
    MAX_BYTES,
    MAX_REPLICAS,
    MAX_REQUESTS,
    MAX_RETRIES,
    MAX_SECONDS,
    MAX_WORKERS,
    QUEUE_TIMEOUT_S,
    READ_TIMEOUT_S,
    RESPONSE_TIMEOUT_S,
    UPLOAD_WINDOW_S,
    UPSTREAM_IDLE_S,
)

SCHEMA_ID = "urn:llmhop:router-config"

Schema = Mapping[str, Any]
Keys = Mapping[str, Schema]

_NO_CONTROL = r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$"
_TEXT: Schema = {"type": "string", "pattern": _NO_CONTROL}
_TOKEN: Schema = {**_TEXT, "minLength": 1}
_ADDRESS: Schema = {
    "type": "string",
    "pattern": r"^(unix:/[^\u0000-\u001f\u007f]+|[^/]*:[0-9]{1,5})$",
    "examples": ["127.0.0.1:8080", "[::1]:8080", ":8080", "unix:/run/llmhop/llmhop.sock"],
}
_URL: Schema = {
    "type": "string",
    "pattern": r"^([Hh][Tt][Tt][Pp][Ss]?://[!-~]+|unix:/[!-~]+)$",
    "examples": ["http://127.0.0.1:8000", "https://api.openai.com", "unix:/run/engine.sock"],
}


def _seconds(default: float, description: str) -> Schema:
    return {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": MAX_SECONDS,
        "default": default,
        "description": description,
    }


TOP_KEYS: Keys = {
    "listen": {
        "description": "Address to listen on, or several: host:port, :port for every interface, "
        "or unix:/path for a unix socket. Without it: host and port.",
        "anyOf": [_ADDRESS, {"type": "array", "minItems": 1, "items": _ADDRESS}],
    },
    "host": {
        "type": "string",
        "default": DEFAULT_HOST,
        "description": "Address to listen on, beside port; empty for every interface.",
    },
    "port": {
        "type": "integer",
        "minimum": 0,
        "maximum": 65535,
        "default": DEFAULT_PORT,
        "description": "Port to listen on, beside host; 0 lets the kernel choose.",
    },
    "socketMode": {
        "type": "string",
        "pattern": "^0?[0-7]{3}$",
        "default": "0660",
        "description": "Access mode of the unix sockets in listen, in octal.",
    },
    "tls": {
        "type": "object",
        "description": "Makes every TCP listener an https one. Unix sockets stay as they are.",
    },
    "models": {
        "type": "object",
        "minProperties": 1,
        "description": "The models by the name that clients ask for.",
    },
    "authTokens": {
        "type": "array",
        "items": _TOKEN,
        "description": "Bearer tokens of which clients must send one. Secrets: ${env:NAME} or "
        "${file:PATH}. Empty: no token is asked for.",
    },
    "maxBodyBytes": {
        "type": "integer",
        "minimum": 0,
        "exclusiveMaximum": 2**63,
        "default": DEFAULT_MAX_BODY_BYTES,
        "description": "Largest size of a request body, in bytes; 0 stands for the default.",
    },
    "maxBufferedBytes": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_BYTES,
        "default": DEFAULT_MAX_BUFFERED_BYTES,
        "description": "Most bytes of request bodies in memory, over all clients: while they come "
        "in and until their backend has taken them. A request beyond it is refused with 503. With "
        "workers each takes its share, which must hold one body of maxBodyBytes; the default grows "
        "to that.",
    },
    "maxConnections": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_REQUESTS,
        "default": DEFAULT_MAX_CONNECTIONS,
        "description": "Most client connections at once; more are refused with 503 and closed. "
        "With workers each takes its share, rounded up. No more than half of the descriptors "
        "that the process may open.",
    },
    "minUploadRate": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_BYTES,
        "default": DEFAULT_MIN_UPLOAD_RATE,
        "description": "Bytes a second that a request body must come with, on average over any "
        f"{UPLOAD_WINDOW_S:g} seconds in which llmhop reads it; a slower one is refused with 408. "
        f"0: any rate, with pauses of up to {CLIENT_BODY_S:g} seconds.",
    },
    "drainTimeout": _seconds(
        DEFAULT_DRAIN_S,
        "How long llmhop, told to stop, waits for the requests in flight, in seconds; then they "
        "are cut off.",
    ),
    "accessLog": {
        "type": "string",
        "enum": ["off", "text", "json"],
        "default": "text",
        "description": "How the access log on standard output tells of each request: as key=value, "
        "as a JSON object a line, or not at all. No bodies, headers and queries.",
    },
    "workers": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_WORKERS,
        "default": 1,
        "description": "Processes that serve, each on a CPU of its own at best.",
    },
}

TLS_KEYS: Keys = {
    "certificate": {
        "type": "string",
        "minLength": 1,
        "description": "PEM file with the certificate, then its chain. A relative path starts at "
        "$CREDENTIALS_DIRECTORY where that is set. Read again on reload.",
    },
    "key": {
        "type": "string",
        "minLength": 1,
        "description": "PEM file with the private key, not encrypted. Paths as for certificate.",
    },
}

MODEL_KEYS: Keys = {
    "url": {
        **_URL,
        "description": "Where the model runs: http or https, or unix:/path of a socket; a path "
        "in the URL (unix:/path:/prefix) comes before the request's. One of another llmhop ends in "
        "/route/NAME.",
    },
    "urls": {
        "type": "array",
        "minItems": 1,
        "maxItems": MAX_REPLICAS,
        "uniqueItems": True,
        "items": _URL,
        "description": "In place of url: several backends that serve the same model. Each request "
        "goes to the one with the fewest requests in flight.",
    },
    "headers": {
        "type": "object",
        "description": "Headers that replace the client's. Secrets: ${env:NAME} or ${file:PATH}.",
        "propertyNames": {"pattern": r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"},
        "additionalProperties": _TEXT,
    },
    "aliases": {
        "type": "array",
        "uniqueItems": True,
        "items": {"type": "string", "minLength": 1},
        "description": "Other names for this model. The backend gets the model's own name.",
    },
    "unlisted": {
        "type": "boolean",
        "default": False,
        "description": "Leave the model out of the list at /v1/models; requests find it all the "
        "same.",
    },
    "connectTimeout": _seconds(
        CONNECT_TIMEOUT_S, "Timeout for connecting to the backend, TLS included, in seconds."
    ),
    "idleTimeout": _seconds(
        UPSTREAM_IDLE_S,
        "Timeout of an unused connection to the backend, in seconds. Shorter than the backend's "
        "own; uvicorn, and so vLLM, closes after 5.",
    ),
    "responseTimeout": _seconds(
        RESPONSE_TIMEOUT_S, "Timeout for the head of a response, in seconds; then 504."
    ),
    "readTimeout": _seconds(
        READ_TIMEOUT_S,
        "Timeout between two pieces of a response, in seconds; then it is broken off.",
    ),
    "retries": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_RETRIES,
        "default": 0,
        "description": "How often a request is sent again whose backend broke off before the "
        "response began. The backend may have worked on it, so a request may take effect twice. "
        "Trying the next of urls where one can't be reached is no retry.",
    },
    "maxConcurrent": {
        "type": "integer",
        "minimum": 1,
        "maximum": MAX_REQUESTS,
        "description": "Most concurrent requests, over all urls and all workers; more wait, first "
        "in, first out. Without it there is no limit.",
    },
    "maxQueued": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_REQUESTS,
        "default": DEFAULT_MAX_QUEUED,
        "description": "Most requests in the queue where maxConcurrent is reached, of all workers "
        "together; more are refused with 429.",
    },
    "queueTimeout": _seconds(
        QUEUE_TIMEOUT_S,
        "Timeout in the queue for a place among maxConcurrent, in seconds; then 503.",
    ),
    "resolve": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": MAX_SECONDS,
        "description": "Look up the addresses of the urls' host names every so many seconds, and "
        "take each address as a backend of its own. Without it a name is one backend.",
    },
}


def config_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a config."""
    model = _object(MODEL_KEYS, required=())
    model["oneOf"] = [_given("url"), _given("urls")]
    top = _object(TOP_KEYS, required=("models",))
    nested = {"tls": _object(TLS_KEYS, required=("certificate", "key"))}
    for key, schema in nested.items():
        top["properties"][key] = {**_nullable(TOP_KEYS[key]), **schema, "type": ["object", "null"]}
    top["properties"]["models"] = {
        **TOP_KEYS["models"],
        "propertyNames": {"minLength": 1},
        "additionalProperties": model,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "llmhop config",
        **top,
        "allOf": [{"not": _given("listen", "host")}, {"not": _given("listen", "port")}],
    }


def config_schema_text() -> str:
    """Return the JSON Schema as it is committed and printed."""
    return json.dumps(config_schema(), indent=2) + "\n"


def _object(keys: Keys, required: tuple[str, ...]) -> dict[str, Any]:
    # A required key can't be null, as null stands for a key that is not given.
    properties = {k: dict(s) if k in required else _nullable(s) for k, s in keys.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _nullable(schema: Schema) -> dict[str, Any]:
    if "enum" in schema:
        schema = {**schema, "enum": [*schema["enum"], None]}
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}


def _given(*keys: str) -> Schema:
    given = {"not": {"type": "null"}}
    return {"required": list(keys), "properties": dict.fromkeys(keys, given)}
