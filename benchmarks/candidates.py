"""What is compared: how each candidate is configured and started.

All of them listen on one port and know three models: `m`, `fast` and `slow`. nginx can't read
bodies, so it listens on one port for each: it is the limit of what a proxy can do here.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

MODELS = ("m", "fast", "slow")  # one for each port of the backend
TOKEN = "benchmark"  # noqa: S105 - opens nothing but the router that is measured


@dataclass(frozen=True)
class Candidate:
    """A router to measure. `ports` are by model."""

    name: str
    command: list[str]
    ports: dict[str, int]


def _urls(backend: int) -> dict[str, str]:
    return {model: f"http://127.0.0.1:{backend + n}" for n, model in enumerate(MODELS)}


def _one_port(port: int) -> dict[str, int]:
    return dict.fromkeys(MODELS, port)


def nginx(directory: Path, port: int, backend: int, workers: int = 1) -> Candidate:
    """Plain proxy_pass: bodies stay in memory and are not read; no log."""
    ports = {model: port + n for n, model in enumerate(MODELS)}
    servers = "".join(
        f"""
  upstream {model} {{
    server 127.0.0.1:{backend + n}; keepalive 2048; keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{ports[model]} backlog=4096;
    location / {{
      proxy_pass http://{model}; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}"""
        for n, model in enumerate(MODELS)
    )
    temporary = "".join(
        f"  {kind}_temp_path {directory}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    master = "on" if workers > 1 else "off"  # without one, the measured process is the worker
    config = f"""daemon off; master_process {master}; worker_processes {workers};
pid {directory}/nginx.pid; error_log {directory}/nginx.log crit;
events {{ worker_connections 16384; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_max_body_size 0; client_body_buffer_size 1m;
{temporary}{servers}
}}
"""
    path = directory / "nginx.conf"
    path.write_text(config)
    return Candidate("nginx, no routing", ["nginx", "-p", str(directory), "-c", str(path)], ports)


def haproxy(directory: Path, port: int, backend: int) -> Candidate:
    """The model by json_query, in buffers that hold the largest body; no log."""
    backends = "".join(
        f"""
backend {model}
  http-reuse always
  server one 127.0.0.1:{backend + n}
"""
        for n, model in enumerate(MODELS)
    )
    path = directory / "haproxy.cfg"
    path.write_text(
        f"""global
  nbthread 1
  maxconn 8192
  tune.bufsize 393216
defaults
  mode http
  option http-buffer-request
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend in
  bind 127.0.0.1:{port} backlog 4096
  use_backend %[req.body,json_query('$.model')]
{backends}"""
    )
    command = ["haproxy", "-db", "-q", "-f", str(path)]
    return Candidate("haproxy, json_query", command, _one_port(port))


def aiohttp(directory: Path, port: int, backend: int) -> Candidate:
    """The baseline on a plain library."""
    script = Path(__file__).with_name("aiohttp_router.py")
    models = [f"{model}={url}" for model, url in _urls(backend).items()]
    command = [sys.executable, str(script), str(port), *models]
    return Candidate("aiohttp", command, _one_port(port))


def go(directory: Path, port: int, backend: int) -> Candidate:
    """The same on Go's standard library, tuned."""
    models = [f"{model}={url}" for model, url in _urls(backend).items()]
    return Candidate("Go", [str(directory / "go_router"), str(port), *models], _one_port(port))


def llmhop(directory: Path, port: int, backend: int, workers: int = 1) -> Candidate:
    """This project's router, as installed for this Python, with authentication."""
    path = directory / "llmhop.json"
    config = {
        "listen": f"127.0.0.1:{port}",
        "authTokens": [TOKEN],
        "accessLog": "json",
        "workers": workers,
        "models": {model: {"url": url} for model, url in _urls(backend).items()},
    }
    path.write_text(json.dumps(config))
    command = [sys.executable, "-m", "llmhop", "--config", str(path)]
    return Candidate("llmhop", command, _one_port(port))


MAKERS = {"nginx": nginx, "haproxy": haproxy, "go": go, "aiohttp": aiohttp, "llmhop": llmhop}
