"""What every request of the discovery service passes first: an id, a line in the log, and no browsers."""

from __future__ import annotations

import logging
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_log = logging.getLogger(__name__)


class Gate:
    """ASGI middleware. Logs method, path, status and time, never headers or bodies: these hold tokens and keys."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through. One with an ``Origin`` comes from a page in a browser, which has no business here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = secrets.token_hex(8)
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                headers["Cache-Control"] = "no-store"
            await send(message)

        app = self._app
        if "origin" in Headers(scope=scope):
            app = JSONResponse({"error": "forbidden", "message": "this service is not for web pages"}, 403)
        try:
            await app(scope, receive, send_with_id)
        finally:
            _log.info(
                "%s %r %d in %.1f ms [%s]",
                scope["method"],
                scope["path"],
                status,
                (time.perf_counter() - started) * 1000,
                request_id,
            )
