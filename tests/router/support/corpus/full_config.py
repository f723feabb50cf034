"""A config with every key, each with another value than its default."""

from __future__ import annotations

from typing import Any

FULL: dict[str, Any] = {
    "listen": ["127.0.0.1:0", "[::1]:8080", ":8081", "unix:/run/llmhop/r.sock"],
    "socketMode": "0666",
    "tls": {"certificate": "cert.pem", "key": "key.pem"},
    "authTokens": ["t"],
    "clients": {
        "team-a": {"token": "a", "models": ["m"], "paths": ["/metrics", "/sleep"]},
        "team-b": {
            "tokens": ["b", "c"],
            "models": [],
            "paths": ["*"],
            "maxConcurrent": 1,
            "requestsPerMinute": 2,
            "tokensPerMinute": 3,
        },
    },
    "cors": {"origins": ["https://app.example", "*"]},
    "allowedHosts": ["llm.example"],
    "maxBodyBytes": 1,
    "maxBufferedBytes": 2**28,
    "maxConnections": 1,
    "minUploadRate": 0,
    "drainTimeout": 0.5,
    "workers": 2,
    "accessLog": "json",
    "models": {
        "m": {
            "url": "https://h/v1",
            "headers": {"X": "y"},
            "aliases": ["a", "b"],
            "unlisted": True,
            "connectTimeout": 0.5,
            "idleTimeout": 60,
            "responseTimeout": 900,
            "readTimeout": 30.5,
            "retries": 10,
            "maxConcurrent": 1,
            "maxQueued": 0,
            "queueTimeout": 5,
            "paths": ["/sleep", "*"],
            "resolve": 30,
        }
    },
}
ALTERNATIVES: dict[str, tuple[str, object]] = {"host": ("listen", "::"), "port": ("listen", 80)}
"""Keys that are given in place of another."""
REPLICAS = ["http://h/v1", "unix:/run/engine.sock"]
