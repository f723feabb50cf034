#!/usr/bin/env python3
"""A stand-in for vLLM's OpenAI-compatible server, standard library only.

It answers the requests that the tests make (chat and text completions, plain and
streamed, the model list, health) and reports on ``GET /report`` what the process was
given: arguments, environment, id maps, capabilities, mounts, limits. No model runs.

It is called as vLLM is, ``vllm serve MODEL [flags]``; called by the module name
``vllm.entrypoints.openai.api_server`` it takes ``--model`` only, as the entrypoint of
vLLM's images up to v0.11 does. Flags that it does not know are accepted and reported.

Environment (times in seconds, fractions allowed):

STANDIN_START_DELAY      wait before the port is opened
STANDIN_FAIL_START       exit with this code instead of serving (after the delay)
STANDIN_EXIT_AFTER       exit with code 0 this long after the start, as vLLM does when its
                         engine dies
STANDIN_UNHEALTHY_AFTER  from then on /health answers 503
STANDIN_CHUNK_DELAY      pause between two streamed chunks; a request's ``chunk_delay``
                         field wins
VLLM_API_KEY             the token that /v1 asks for, as in vLLM
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

Json = dict[str, Any]


@dataclass(frozen=True)
class Options:
    """What the command line and the environment ask for."""

    model: str
    served_names: tuple[str, ...]
    host: str
    port: int
    api_key: str | None = None
    max_model_len: int | None = None


@dataclass
class State:
    """What the server keeps between requests."""

    options: Options
    argv: Sequence[str]
    started: float = field(default_factory=time.time)
    instance: str = field(default_factory=lambda: uuid.uuid4().hex)
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class ApiError(Exception):
    """An error that the client is told about, in OpenAI's shape."""

    def __init__(self, status: int, message: str, kind: str, param: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body: Json = {
            "error": {"message": message, "type": kind, "param": param, "code": status}
        }


def flag_values(args: Sequence[str], flag: str) -> list[str]:
    """All values of the last ``--flag a b`` or ``--flag=a`` in `args`."""
    found: list[str] = []
    for index, arg in enumerate(args):
        if arg.startswith(f"--{flag}="):
            found = [arg.partition("=")[2]]
        elif arg == f"--{flag}":
            found = []
            for value in args[index + 1 :]:
                if value.startswith("--"):
                    break
                found.append(value)
    return found


def parse_arguments(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the few flags that change what the server does.

    Raises SystemExit(2) for what vLLM's own parser refuses: no known subcommand, or a
    subcommand where the API server module was called.
    """
    program, args = argv[0], list(argv[1:])
    model = "Qwen/Qwen3-0.6B"  # vLLM's default model
    if program.endswith("api_server.py"):
        if args and not args[0].startswith("-"):
            raise SystemExit(f"api_server.py: error: unrecognized arguments: {' '.join(args)}")
    else:
        if not args or args[0] != "serve":
            print(f"usage: {program} serve MODEL [options]", file=sys.stderr)
            raise SystemExit(2)
        args = args[1:]
        if args and not args[0].startswith("-"):
            model = args[0]
    model = (flag_values(args, "model") or [model])[-1]
    port = (flag_values(args, "port") or ["8000"])[-1]
    if not port.isdecimal() or int(port) > 65535:
        raise SystemExit(f"{program}: error: argument --port: invalid port: {port!r}")
    api_key = (flag_values(args, "api-key") or [environ.get("VLLM_API_KEY", "")])[-1]
    length = (flag_values(args, "max-model-len") or [""])[-1]
    return Options(
        model=model,
        served_names=tuple(flag_values(args, "served-model-name")) or (model,),
        # As vLLM: all interfaces unless told otherwise, since a container publishes it.
        host=(flag_values(args, "host") or ["0.0.0.0"])[-1],  # noqa: S104
        port=int(port),
        api_key=api_key or None,
        max_model_len=int(length) if length.isdecimal() else None,
    )


def read_text(path: str) -> str | None:
    """The file's text, or None where this system has no such file."""
    try:
        return Path(path).read_text(errors="surrogateescape")
    except OSError:
        return None


def id_map(path: str) -> list[list[int]]:
    """A uid_map or gid_map as [inside, outside, count] triples (user_namespaces(7))."""
    return [[int(word) for word in line.split()] for line in (read_text(path) or "").splitlines()]


def mounts() -> list[Json]:
    """The mounts of /proc/self/mountinfo, fields as proc_pid_mountinfo(5) names them."""
    result: list[Json] = []
    for line in (read_text("/proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        head, tail = before.split(" "), after.split(" ")
        # A path in mountinfo has space, tab, newline and backslash as octal escapes.
        target = head[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        result.append(
            {
                "target": target,
                "root": head[3],
                "options": head[5].split(","),
                "fstype": tail[0],
                "source": tail[1],
                "super_options": tail[2].split(","),
            }
        )
    return result


def report(state: State) -> Json:
    """What this process was given, as JSON. Bytes that are not UTF-8 become surrogates."""
    status = dict(
        line.split(":\t", 1) for line in (read_text("/proc/self/status") or "").splitlines()
    )
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    shm = os.statvfs("/dev/shm") if Path("/dev/shm").is_dir() else None  # noqa: S108
    devices = sorted(str(path) for path in Path("/dev").rglob("*") if not path.is_dir())
    wanted = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")
    return {
        "argv": list(state.argv),
        "environ": dict(os.environ),
        "pid": os.getpid(),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "groups": os.getgroups(),
        "uid_map": id_map("/proc/1/uid_map"),
        "gid_map": id_map("/proc/1/gid_map"),
        "status": {name: status[name].strip() for name in wanted if name in status},
        "mounts": mounts(),
        "rlimits": {"nofile": {"soft": soft, "hard": hard}},
        "shm_bytes": shm.f_frsize * shm.f_blocks if shm else None,
        "devices": devices,
        "cwd": str(Path.cwd()),
        "started": state.started,
        "instance": state.instance,
        "requests": state.requests,
    }


def last_user_text(body: Json) -> str:
    """The text of the last user message, or the prompt of a text completion."""
    if "prompt" in body:
        return str(body["prompt"])
    for message in reversed(body.get("messages") or []):
        if isinstance(message, dict) and message.get("role") == "user":
            content = message.get("content")
            if isinstance(content, list):  # parts, as multi-modal clients send them
                return "".join(str(part.get("text", "")) for part in content)
            return str(content)
    raise ApiError(400, "messages holds no user message", "BadRequestError", "messages")


class Answer:
    """One completion: the words it consists of and the JSON around them."""

    def __init__(self, options: Options, body: Json, chat: bool) -> None:
        name = body.get("model") or options.served_names[0]
        if name not in options.served_names:
            message = f"The model `{name}` does not exist."
            raise ApiError(404, message, "NotFoundError", "model")
        self.chat = chat
        self.name = name
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self.created = int(time.time())
        prompt = last_user_text(body)
        self.words = f"{name} heard: {prompt}".split(" ")
        count = len(prompt.split()), len(self.words)
        self.usage = {
            "prompt_tokens": count[0],
            "completion_tokens": count[1],
            "total_tokens": sum(count),
        }

    def _wrap(self, kind: str, choices: list[Json]) -> Json:
        return {
            "id": self.id,
            "object": kind,
            "created": self.created,
            "model": self.name,
            "choices": choices,
        }

    def whole(self) -> Json:
        """The answer as one JSON object."""
        text = " ".join(self.words)
        choice: Json = {"index": 0, "finish_reason": "stop", "logprobs": None}
        choice |= {"message": {"role": "assistant", "content": text}} if self.chat else {}
        choice |= {} if self.chat else {"text": text}
        kind = "chat.completion" if self.chat else "text_completion"
        return self._wrap(kind, [choice]) | {"usage": self.usage}

    def chunks(self, include_usage: bool) -> Iterator[Json]:
        """The answer as a stream: one chunk a word, then the finish reason."""
        kind = "chat.completion.chunk" if self.chat else "text_completion"
        if self.chat:
            delta: Json = {"role": "assistant", "content": ""}
            yield self._wrap(kind, [{"index": 0, "delta": delta, "finish_reason": None}])
        for index, word in enumerate(self.words):
            text = word if index == 0 else f" {word}"
            part = {"delta": {"content": text}} if self.chat else {"text": text}
            yield self._wrap(kind, [{"index": 0, "finish_reason": None} | part])
        end: Json = {"delta": {}} if self.chat else {"text": ""}
        yield self._wrap(kind, [{"index": 0, "finish_reason": "stop"} | end])
        if include_usage:
            yield self._wrap(kind, []) | {"usage": self.usage}


class Handler(BaseHTTPRequestHandler):
    """One client connection."""

    protocol_version = "HTTP/1.1"
    server_version = "standin"
    timeout = 300  # seconds that an idle connection is kept

    @property
    def state(self) -> State:
        """The server's state."""
        return cast(Server, self.server).state

    def log_message(self, format: str, *args: Any) -> None:
        """Log the request line only: headers and bodies may hold secrets."""
        print(f"standin: {format % args}", file=sys.stderr, flush=True)

    def send_json(self, status: int, body: Json) -> None:
        """Send one JSON answer."""
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_stream(self, answer: Answer, body: Json) -> None:
        """Send server-sent events, each in an HTTP chunk of its own."""
        pause = float(body.get("chunk_delay", os.environ.get("STANDIN_CHUNK_DELAY", "0")))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        include_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        for chunk in answer.chunks(include_usage):
            self.write_event(json.dumps(chunk))
            time.sleep(pause)
        self.write_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def write_event(self, data: str) -> None:
        """Write one server-sent event."""
        event = f"data: {data}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))

    def check_token(self) -> None:
        """Ask for the API key on /v1, as vLLM does where one is set."""
        key = self.state.options.api_key
        given = self.headers.get("Authorization", "")
        if key and self.path.startswith("/v1") and given != f"Bearer {key}":
            raise ApiError(401, "Unauthorized", "AuthenticationError")

    def read_body(self) -> Json:
        """The request's JSON object."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            data = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                data += self.rfile.read(size)
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass  # trailers
        else:
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        try:
            body = json.loads(data)
        except ValueError as error:
            raise ApiError(400, f"the body is not JSON: {error}", "BadRequestError") from None
        if not isinstance(body, dict):
            raise ApiError(400, "the body is not a JSON object", "BadRequestError")
        return body

    def models(self) -> Json:
        """The model list: each served name is an entry, `root` is what they all serve."""
        options, created = self.state.options, int(self.state.started)
        entry = {"object": "model", "created": created, "owned_by": "vllm", "root": options.model}
        if options.max_model_len is not None:
            entry["max_model_len"] = options.max_model_len
        return {"object": "list", "data": [{"id": name} | entry for name in options.served_names]}

    def do_GET(self) -> None:
        """Answer /health, /report and /v1/models."""
        state, path = self.state, self.path.partition("?")[0]
        try:
            self.check_token()
            if path == "/health":
                limit = os.environ.get("STANDIN_UNHEALTHY_AFTER")
                ill = limit is not None and time.time() - state.started >= float(limit)
                self.send_json(503 if ill else 200, {})
            elif path == "/report":
                self.send_json(200, report(state))
            elif path == "/v1/models":
                self.send_json(200, self.models())
            else:
                raise ApiError(404, "Not Found", "NotFoundError")
        except ApiError as error:
            self.send_json(error.status, error.body)

    def do_POST(self) -> None:
        """Answer /v1/chat/completions and /v1/completions."""
        path = self.path.partition("?")[0]
        try:
            body = self.read_body()
            self.check_token()
            if path not in ("/v1/chat/completions", "/v1/completions"):
                raise ApiError(404, "Not Found", "NotFoundError")
            with self.state.lock:
                self.state.requests += 1
            answer = Answer(self.state.options, body, chat=path == "/v1/chat/completions")
            if body.get("stream"):
                self.send_stream(answer, body)
            else:
                self.send_json(200, answer.whole())
        except ApiError as error:
            self.send_json(error.status, error.body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client went away in the middle of a stream


class Server(ThreadingHTTPServer):
    """The listening socket, one thread a connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, state: State) -> None:
        self.state = state
        super().__init__((state.options.host, state.options.port), Handler)


def end(*_: object) -> None:
    """End at once with code 0; PID 1 of a container ignores signals that it does not handle."""
    os._exit(0)


def main() -> None:
    """Serve until a signal comes or the environment says to stop."""
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    options = parse_arguments(sys.argv, os.environ)
    time.sleep(float(os.environ.get("STANDIN_START_DELAY", "0")))
    if code := int(os.environ.get("STANDIN_FAIL_START", "0")):
        print("standin: told to fail by STANDIN_FAIL_START", file=sys.stderr)
        raise SystemExit(code)
    try:
        server = Server(State(options, sys.argv))
    except OSError as error:
        print(f"standin: {options.host}:{options.port}: {error.strerror}", file=sys.stderr)
        raise SystemExit(1) from None
    if limit := os.environ.get("STANDIN_EXIT_AFTER"):
        timer = threading.Timer(float(limit), end)
        timer.daemon = True
        timer.start()
    print(f"standin: serving {options.model} on port {server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
