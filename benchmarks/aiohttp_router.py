"""The baseline: what a router is on a plain library, aiohttp's server and client on uvloop.

It reads the body, finds the model, and relays the response as it comes. No limits, no timeouts,
no authentication.

usage: aiohttp_router.py PORT MODEL=URL...
"""

from __future__ import annotations

import json
import sys

import aiohttp
import uvloop
from aiohttp import web

HOP_BY_HOP = {"connection", "content-length", "host", "transfer-encoding"}


def make_app(urls: dict[str, str]) -> web.Application:
    """Return the router for models by their backends' URLs."""
    app = web.Application(client_max_size=2**30)

    async def relay(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        url = urls[json.loads(body)["model"]] + request.raw_path
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        session: aiohttp.ClientSession = app["session"]
        async with session.request(request.method, url, data=body, headers=headers) as upstream:
            kept = {k: v for k, v in upstream.headers.items() if k.lower() not in HOP_BY_HOP}
            response = web.StreamResponse(status=upstream.status, headers=kept)
            if upstream.content_length is not None:
                response.content_length = upstream.content_length
            await response.prepare(request)
            async for chunk in upstream.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response

    async def start(app: web.Application) -> None:
        connector = aiohttp.TCPConnector(limit=0)
        app["session"] = aiohttp.ClientSession(connector=connector, auto_decompress=False)

    app.on_startup.append(start)
    app.router.add_route("*", "/{path:.*}", relay)
    return app


if __name__ == "__main__":
    uvloop.install()
    models = dict(argument.split("=", 1) for argument in sys.argv[2:])
    web.run_app(make_app(models), host="127.0.0.1", port=int(sys.argv[1]), access_log=None)
