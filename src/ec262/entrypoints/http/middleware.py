"""Middleware of the discovery service: gives requests an id, logs them, and refuses browsers and floods."""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ec262.domain.errors import InvalidRequest, TooManyRequests
from ec262.entrypoints.http.metrics import Meter
from ec262.entrypoints.http.rates import RateLimits
from ec262.entrypoints.shared.logs import request_id

OPENING = ("POST", "/v1/account")
NOWHERE = "(no such route)"
"""Replaces the path of an unknown route, because text from strangers does not belong in logs."""

_log = logging.getLogger(__name__)


def bearer_token(authorization: str) -> str:
    """Return the token in an Authorization header; empty if there is none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


Refuse = Callable[[int, str, str, Mapping[str, str]], Response]
"""Makes a refusal from status, code, message and headers, in the format of the API behind the gate."""


def refuse_v1(status: int, code: str, message: str, headers: Mapping[str, str]) -> Response:
    """Make a refusal in the format of ``/v1``."""
    return JSONResponse({"error": code, "message": message}, status, headers)


AMBIGUOUS = "Transfer-Encoding in HTTP/1.0, or together with Content-Length: where the request ends is ambiguous"


def _is_ambiguous(request: Request) -> bool:
    """Tell whether a proxy and this server could disagree on where the request ends, and so on where the next one
    begins (RFC 9112, 6.1). The connection of such a request must end with it."""
    if "transfer-encoding" not in request.headers:
        return False
    return "content-length" in request.headers or request.scope["http_version"] == "1.0"


class Gate:
    """ASGI middleware. Logs method, route, status and time, never headers or bodies: these hold tokens and keys.

    ``paths`` names the routes' paths by their endpoints.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        client_address: Callable[[Request], str],
        limits: RateLimits | None,
        meter: Meter,
        paths: Mapping[object, str],
        refuse: Refuse = refuse_v1,
    ) -> None:
        self._app = app
        self._client_address = client_address
        self._limits = limits
        self._meter = meter
        self._paths = paths
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or refuse it before anything of its body is read."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        client, refusal = self._admitted(request)
        id_set = request_id.set(secrets.token_hex(8))
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id.get()
                headers["Cache-Control"] = "no-store"
            await send(message)

        try:
            await (refusal or self._app)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            path = self._paths.get(scope.get("endpoint"), NOWHERE)
            self._meter.request(path, status, seconds)
            ms = round(seconds * 1000, 1)
            _log.info(
                "%s %s %d in %.1f ms",
                scope["method"],
                path,
                status,
                ms,
                extra={"client": client, "method": scope["method"], "path": path, "status": status, "ms": ms},
            )
            request_id.reset(id_set)

    def _admitted(self, request: Request) -> tuple[str, ASGIApp | None]:
        """Return the client's address, and the refusal if the request is not let through. A client whose address cannot
        be determined could pass for another one, so its address is empty."""
        try:
            client = self._client_address(request)
        except InvalidRequest as error:
            return "", self._refuse(400, error.code, str(error), {})
        return client, self._refusal(request, client)

    def _refusal(self, request: Request, client: str) -> ASGIApp | None:
        if _is_ambiguous(request):
            return self._refuse(400, InvalidRequest.code, AMBIGUOUS, {"Connection": "close"})
        if "origin" in request.headers:
            return self._refuse(403, "forbidden", "this service does not accept requests from web pages", {})
        if self._limits is None:
            return None
        token = bearer_token(request.headers.get("authorization", ""))
        opens_account = (request.method, request.scope["path"]) == OPENING
        try:
            self._limits.check(client, token, opens_account=opens_account)
        except TooManyRequests as error:
            self._meter.rate_limited()
            headers = {"Retry-After": str(math.ceil(error.retry_after_s))}
            return self._refuse(429, error.code, str(error), headers)
        return None
