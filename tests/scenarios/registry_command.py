#!/usr/bin/env python3
"""A registry that serves one image, of which `podman push … dir:DIRECTORY` made the files.

registry DIRECTORY PORT
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DIRECTORY, PORT = Path(sys.argv[1]), int(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    """Answers what a pull asks for; see the distribution specification of the OCI."""

    def do_GET(self) -> None:
        """Give the manifest by whatever tag, or a blob by its digest."""
        kind, _, name = self.path.rpartition("/")
        if self.path == "/v2/":
            self.give(b"{}", "application/json")
        elif kind.endswith("/manifests"):
            manifest = (DIRECTORY / "manifest.json").read_bytes()
            self.give(manifest, json.loads(manifest).get("mediaType", OCI_MANIFEST))
        else:
            blob = DIRECTORY / Path(name).name.removeprefix("sha256:")
            self.give(blob.read_bytes(), "application/octet-stream")

    do_HEAD = do_GET  # noqa: N815 - the name that http.server looks for

    def give(self, body: bytes, kind: str) -> None:
        """Send an answer, without its body where only its head was asked for."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()
