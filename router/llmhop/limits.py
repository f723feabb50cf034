"""Limits and timeouts of the router, in bytes and seconds: those that no config changes, and the
defaults DEFAULT_MAX_CONNECTIONS, CONNECT_TIMEOUT_S and UPSTREAM_IDLE_S. Those of other keys of the
config stand at the key: config.config.
"""

from typing import Final

DEFAULT_MAX_CONNECTIONS: Final = 16384
"""Clients at once when the config has no maxConnections. One that has asked for nothing takes
about 8 KB, and each takes two descriptors at most, its own and one to a backend. What else is open
to backends is closed where a client needs one (see upstream.pool)."""

FEW_CONNECTIONS: Final = 1024
"""Where the limit of open files allows fewer clients, that is told though nobody asked for more."""

CLIENT_DESCRIPTORS: Final = 2
"""Descriptors that a client may need: its connection, and one to a backend."""

SPARE_DESCRIPTORS: Final = 192
"""Descriptors that are kept for other uses than clients and their backends: for clients that are
turned away, questions to backends, what listens, logs."""

YOUNG_ATTEMPT_S: Final = 1.0
"""So old may an attempt to connect be that another request takes over: as long as the kernel waits
before it sends a SYN again (RFC 6298 section 2)."""

READY_AT_ONCE: Final = 32
"""How many backends are asked at once when /ready is asked, as each takes a descriptor."""

MAX_TURNED_AWAY: Final = 128
"""Clients beyond the limit that are given time to read so; the rest is closed at once."""

ACCEPT_RETRY_S: Final = 1.0
"""After how long accepting is tried again where there was no descriptor."""

MAX_HEAD_BYTES: Final = 64 * 1024
"""Largest head of a request or a response, start line included."""

MAX_QUOTED_NAME_BYTES: Final = 3 * 1024
"""How much of the names of a model that stand in a request's target, or in a form's fields, is
decoded, as it is written there. What is longer is no model's name."""

MAX_FIELDS: Final = 128
"""Most header fields of a request or a response, and most options that its Connection may name.
Apache takes 100 and HAProxy 101, so nothing that comes through one of them has more."""

MAX_PIPELINED_BYTES: Final = 64 * 1024
"""What a client may send ahead while its request is answered; more waits in the kernel."""

MAX_REQUESTS_PER_PASS: Final = 8
"""How many requests of one connection are answered in one pass of the event loop."""

MAX_CHUNKS_PER_PASS: Final = 4096
"""How many chunks of a request's body are read in one pass. A read of 256 KB brings about as many
of 64 bytes, and ten times as many of one byte."""

MAX_BYTES_PER_PASS: Final = 128 * 1024
"""After a read of as many bytes, reading pauses until the next pass. The event loop reads up to
256 KB at once, and reads on from one connection, up to 32 times, while it brings as much."""

MAX_PASS_S: Final = 0.02
"""For how long a pass works on what clients sent, before timers and backends are served. One
client may exceed it, by what is read of it in one pass."""

LIGHT_BYTES: Final = 16 * 1024
"""So large may a read be that is answered before larger ones that wait, as /health is."""

SWEEP_S: Final = 1.0
"""Period of the timer sweep. Timeouts that it enforces (client.deadline, relay.exchange,
upstream.pool) are late by up to this much, those that count from the last sign of life by up to
twice as much."""

CONNECT_TIMEOUT_S: Final = 10.0
"""For the TCP and TLS handshakes with a backend."""

UNIX_RETRY_S: Final = 0.05
"""How long to wait before connecting again to a unix socket whose queue is full."""

UPSTREAM_IDLE_S: Final = 4.0
"""How long an idle connection to a backend is kept. uvicorn, and so vLLM, closes idle
connections after 5 s; going first means a request never meets a connection that is
being closed."""

MAX_REPLICAS: Final = 64
"""Most urls of a model."""

MAX_HOPS: Final = 3
"""Most llmhops that one request goes through: a front, a front of some hosts, a host. Of hosts that
are each other's fallback, with all engines down, N would make (N - 1)! requests of one."""

MAX_HELD_FORM_BYTES: Final = 1024 * 1024
"""How much of a form, which goes on as it comes, is kept for the next replica until the head of
the response. Speech of a minute, compressed."""

STARTING_S: Final = 3.0
"""How long after a request was sent a new connection that closes without a byte is taken for one
to a backend that is starting."""

BASE_EJECTION_S: Final = 1.0
"""For how long a backend that failed is ejected before it is probed, doubled each time: as Envoy
has base_ejection_time and max_ejection_time."""

MAX_EJECTION_S: Final = 30.0
"""The longest of these times."""

QUEUE_RETRY_AFTER_S: Final = 1
"""When a client may ask again that found the queue of a model full."""

PROBE_TIMEOUT_S: Final = 3.0
"""How long a backend may take to answer GET /health. A busy vLLM answers it late."""

READY_S: Final = 1.0
"""How long an answer of /ready counts."""

METRICS_S: Final = 1.0
"""How long a page of /metrics counts, from when it is begun."""

CLIENT_STALL_S: Final = 60.0
"""How long a client may take nothing of a response whose rest waits here or at the backend."""

CLIENT_IDLE_S: Final = 75.0
"""How long a client may keep a connection open without a request; CLIENT_STALL_S counts while it
has yet to take the rest of a response."""

CLIENT_HEAD_S: Final = 10.0
"""From the first byte of a request to the end of its head (slowloris)."""

CLIENT_BODY_S: Final = 60.0
"""Longest pause between two pieces of a request body where minUploadRate is 0."""

UPLOAD_WINDOW_S: Final = 20.0
"""So long a body may be slower than minUploadRate, from its beginning or at any time later."""

LINGER_S: Final = 5.0
"""How long input is discarded after an early refusal, so that the client can read it."""

CLOSE_S: Final = 60.0
"""How long a client may take to read the end of the last response on its connection, and as long
as CLIENT_STALL_S allows if it reads on."""

TLS_CLOSE_S: Final = 3600.0
"""How long the event loop waits for what is to be sent, and then for the client's word, when it
closes over TLS: longer than any client has, since it asks for no progress."""

DRAIN_SPARE_S: Final = 15.0
"""How long after drainTimeout systemd waits for the end of the process, or processes."""

DRAIN_CLOSE_S: Final = 1.0
"""How long after its drain a process waits until clients have taken their last response."""

PREFLIGHT_S: Final = 7200
"""How long a browser may keep the answer to a preflight: the longest that Chromium does. What it
sends then is still asked for its origin."""

MAX_ASKED_HEADERS_BYTES: Final = 4096
"""The longest list of header fields by name that a preflight may ask for."""

OVERLOAD_RETRY_AFTER_S: Final = 1
"""When a client may ask again that was refused for want of memory or connections, or at a drain."""

DRAIN_NEW_S: Final = 5.0
"""How long of a drain a client may take for its first request."""

DRAIN_KEPT_S: Final = 1.0
"""The same over TLS for one more request (see Session.end_kept)."""

RELOAD_S: Final = 10.0
"""How long a reload waits for a worker that does not answer. Less than TimeoutStartSec= in the
units, which is what systemd gives to a reload (systemd.service(5), Type=notify-reload)."""

WORKER_STABLE_S: Final = 10.0
"""A worker that ran for as long is started again at once when it ends."""

FAULT_PAUSE_S: Final = 0.1
"""The supervisor's rest after a fault of its own, so that one that stays takes no processor."""

WORKER_WAIT_S: Final = 0.5
"""What each worker that ends sooner makes the next start wait longer, doubled each time."""

WORKER_LONGEST_WAIT_S: Final = 30.0
"""The longest that a worker's start waits."""

WORKER_END_S: Final = 5.0
"""How long after its drain a worker may take to end."""
