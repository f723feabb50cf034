"""Chromium against a running router: what its pages may do, and what they can't."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.docs.markdown import BOOK, blocks
from tests.router.conftest import StartBackend, StartRouter
from tests.router.support.browser import Browser, Site
from tests.router.support.endpoints import Backend, Received

pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="chromium is not installed"
)

EVENTS = [f"data: {word}\n\n" for word in ("Hello", "from", "qwen")]
CONFIG = next(
    json.loads(block.text)
    for block in blocks(BOOK / "clients.md")
    if block.language == "json" and "cors" in json.loads(block.text)
)
SCRIPT = next(b.text for b in blocks(BOOK / "clients.md") if b.language == "js")


async def events(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with events, and allow every origin, as vLLM does by default."""
    writer.write(
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
        b"Access-Control-Allow-Origin: *\r\nX-Of-Backend: 1\r\n\r\n"
    )
    for event in map(str.encode, EVENTS):
        writer.write(b"%x\r\n%b\r\n" % (len(event), event))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


@pytest.fixture
def engine(start_backend: StartBackend) -> Backend:
    return start_backend(events)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    site = Site()
    yield Browser(tmp_path / "browser", site)
    site.close()


@pytest.fixture
def realtime() -> Iterator[str]:
    """A server of WebSockets that says whose page asks, as far as it knows."""

    def greet(connection: ServerConnection) -> None:
        assert connection.request is not None
        connection.send(str(connection.request.headers.get("Origin")))

    with serve(greet, "127.0.0.1", 0, subprotocols=[Subprotocol("realtime")]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join()


LISTEN = """
const heard = (source, enough) => new Promise((resolve) => {
  const all = [];
  const end = () => { source.close(); resolve(all); };
  source.onmessage = (event) => { if (all.push(event.data) == enough) end(); };
  source.onerror = source.onclose = end;
});
"""


@pytest.mark.parametrize("tokens", [[], ["TOKEN"]], ids=["open", "with a token"])
def test_an_allowed_page_does_what_the_documentation_shows_and_more(
    tokens: list[str],
    browser: Browser,
    engine: Backend,
    realtime: str,
    start_router: StartRouter,
) -> None:
    origins = [origin.replace("3000", str(browser.port)) for origin in CONFIG["cors"]["origins"]]
    assert f"http://localhost:{browser.port}" in origins
    models: dict[str, Any] = dict.fromkeys(CONFIG["models"], engine.url)
    router = start_router(
        {**models, "realtime": realtime},
        cors={"origins": origins},
        authTokens=tokens,
        allowedHosts=[],
    )
    script = SCRIPT.replace("http://127.0.0.1:8080", router.url)
    assert script != SCRIPT
    assert re.fullmatch(r"(?s)const response = .*console\.log\(text\);\n}\n", script)
    found = browser.run(
        "localhost",
        f"""{LISTEN}
        let shown = "";
        const real = console.log;
        console.log = (text) => {{ shown += text; }};
        {script}
        console.log = real;
        const asked = async (path, options) => {{
          const answer = await fetch("{router.url}" + path, options);
          const {{ status, headers }} = answer;
          const known = (name) => headers.has(name);
          return [status, known("X-Request-Id"), known("X-Of-Backend"), await answer.text()];
        }};
        const authorized = {{ headers: {{ Authorization: "Bearer TOKEN", "X-Odd": "1" }} }};
        const protocols = ["realtime", "openai-insecure-api-key.TOKEN"];
        const realtime = "{router.url}/v1/realtime?model=realtime";
        return {{
          shown,
          list: await asked("/v1/models", authorized),
          without: await asked("/v1/models"),
          unknown: await asked("/route/none/x", {{ method: "DELETE", ...authorized }}),
          events: await heard(new EventSource("{router.url}/route/qwen/events"), 3),
          socket: await heard(new WebSocket(realtime, protocols), 1),
        }};""",
    )
    assert isinstance(found, dict)
    assert found["shown"] == "".join(EVENTS)
    for name, status, says in (
        ("list", 200, '"qwen"'),
        ("without", 401 if tokens else 200, "invalid_api_key" if tokens else '"qwen"'),
        ("unknown", 404, "model_not_found"),
    ):
        assert found[name][:3] == [status, True, False]
        assert says in found[name][3]
    # An EventSource can send no token.
    assert found["events"] == ([] if tokens else ["Hello", "from", "qwen"])
    assert found["socket"] == ["None"]
    lines = [request.line.rpartition(" ")[0] for request in engine.requests]
    assert lines == ["POST /v1/chat/completions", *([] if tokens else ["GET /events"])]


@pytest.mark.parametrize("tokens", [[], ["TOKEN"]], ids=["open", "with a token"])
def test_another_page_gets_nothing_and_nothing_reaches_a_backend(
    tokens: list[str], browser: Browser, engine: Backend, start_router: StartRouter
) -> None:
    router = start_router({"qwen": engine}, authTokens=tokens, allowedHosts=[])
    found = browser.run(
        "evil.example",
        f"""{LISTEN}
        const url = "{router.url}/v1/chat/completions";
        const body = JSON.stringify({{ model: "qwen", messages: [] }});
        const tried = async (options) => {{
          try {{
            return (await fetch(url, {{ method: "POST", body, ...options }})).type;
          }} catch (error) {{
            return error.name;
          }}
        }};
        const form = new FormData();
        form.append("model", "qwen");
        const loaded = (element, names) => new Promise((resolve) => {{
          element.onload = () => resolve("loaded");
          element.onerror = () => resolve("refused");
          document.body.append(Object.assign(element, names));
        }});
        const get = {{ method: "GET", body: undefined, mode: "no-cors" }};
        const effect = `{router.url}/route/qwen/flush_cache`;
        return {{
          asked: await tried({{ headers: {{ "Content-Type": "application/json" }} }}),
          token: await tried({{ headers: {{ Authorization: "Bearer TOKEN" }} }}),
          simple: await tried({{}}),
          blind: await tried({{ mode: "no-cors" }}),
          form: await tried({{ mode: "no-cors", body: form }}),
          get: await tried(get),
          head: await tried({{ ...get, method: "HEAD" }}),
          image: await loaded(new Image(), {{ src: effect }}),
          script: await loaded(document.createElement("script"), {{ src: effect }}),
          frame: await loaded(document.createElement("iframe"), {{ src: effect }}),
          events: await heard(new EventSource("{router.url}/route/qwen/events"), 1),
          socket: await heard(new WebSocket("{router.url}/v1/realtime?model=qwen"), 1),
        }};""",
    )
    assert found == {
        **dict.fromkeys(("asked", "token", "simple"), "TypeError"),
        # Sent without asking; what came of it, a page never sees.
        **dict.fromkeys(("blind", "form", "get", "head"), "opaque"),
        **dict.fromkeys(("image", "script"), "refused"),
        "frame": "loaded",  # with the error
        "events": [],
        "socket": [],
    }
    assert engine.connections == 0


def test_a_page_on_loopback_may_ask_where_nothing_is_set(
    browser: Browser, engine: Backend, start_router: StartRouter
) -> None:
    router = start_router({"qwen": engine}, allowedHosts=[])
    script = f'return (await fetch("{router.url}/v1/models")).status;'
    assert browser.run("app.localhost", script) == 200


def test_a_name_that_leads_to_loopback_all_at_once_is_no_way_in(
    browser: Browser, engine: Backend, start_router: StartRouter
) -> None:
    router = start_router({"qwen": engine}, allowedHosts=["llm.example"])
    refused = browser.text(f"http://evil.example:{router.port}/route/qwen/events")
    assert "host_not_allowed" in refused
    assert engine.connections == 0
    assert '"qwen"' in browser.text(f"http://llm.example:{router.port}/v1/models")
