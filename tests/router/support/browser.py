"""Chromium on pages of a test's own, whose scripts send their results back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from typing import Any

PATIENCE_S = 60.0
"""Far beyond what a start of the browser takes."""

# Catches whatever the script throws, and waits for it.
_PAGE = """<!doctype html><meta charset=utf-8><script type=module>
const send = (body) => fetch("/result", { method: "POST", body: JSON.stringify(body) });
try {
  const run = async () => { SCRIPT };
  await send({ value: (await run()) ?? null });
} catch (error) {
  await send({ error: String(error) });
}
</script>"""


class Site:
    """A web site on loopback with one page, as which it gives the script that it is told to."""

    def __init__(self) -> None:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(site.page.encode() if self.path == "/" else b"")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(b"")
                site.results.put(json.loads(body))

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.page = ""
        self.results: Queue[dict[str, Any]] = Queue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Browser:
    """Opens pages. Names that end in .example lead to loopback."""

    def __init__(self, directory: Path, site: Site) -> None:
        """`directory` is for what the browser keeps."""
        self._directory = directory
        self._site = site

    @property
    def port(self) -> int:
        """The port of the site, which has whatever name it is opened by."""
        return self._site.port

    def run(self, host: str, script: str) -> object:
        """Open the site by a name, run a script as one of its pages, and return its value.

        Fails where the script does.
        """
        self._site.page = _PAGE.replace("SCRIPT", script)
        with self._opened(f"http://{host}:{self.port}/"):
            result = self._site.results.get(timeout=PATIENCE_S)
        assert "error" not in result, result["error"]
        return result["value"]

    def text(self, url: str) -> str:
        """Return what a page shows, as HTML."""
        with self._opened(url, "--dump-dom") as process:
            return process.communicate(timeout=PATIENCE_S)[0]

    @contextmanager
    def _opened(self, url: str, *options: str) -> Iterator[subprocess.Popen[str]]:
        command = [
            *("chromium", "--headless", "--disable-gpu", "--disable-dev-shm-usage"),
            "--no-sandbox",  # which root can't have; the pages are the test's own
            "--host-resolver-rules=MAP *.example 127.0.0.1",
            f"--user-data-dir={self._directory}",
            *options,
            url,
        ]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
            env={**os.environ, "HOME": str(self._directory)},
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # with all that it started
            process.communicate()
