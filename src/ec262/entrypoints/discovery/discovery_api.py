"""The discovery service over HTTP: a Starlette application around the use cases.

Bodies are the domain's own classes as JSON. The use cases are synchronous and run in threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route as StarletteRoute

from ec262.domain.errors import DiscoveryRefused, DiscoveryUnavailable, InvalidRequest, NotAuthenticated, StorageDamaged
from ec262.domain.protocol.foreman_calls import VerdictQuery
from ec262.entrypoints.discovery.openapi import html_page, openapi_document
from ec262.entrypoints.discovery.routes import ROUTES, STATUS, Call, ErrorBody, Route
from ec262.entrypoints.http.client_address import ClientAddresses
from ec262.entrypoints.http.long_poll import Bell
from ec262.entrypoints.http.metrics import Meter
from ec262.entrypoints.http.middleware import Gate, bearer_token
from ec262.entrypoints.http.rates import RateLimits
from ec262.services.discovery.discovery_service import DiscoveryService

MAX_BODY_BYTES = 1 << 20
"""A purchase that avoids a thousand workers is 70 kB."""

BODY_TIMEOUT_S = 10.0
HEALTH_TIMEOUT_S = 3.0
SWEEP_INTERVAL_S = 5.0
EXAMINE_INTERVAL_S, EXAMINE_PAUSES = 5.0, 29
"""Pause between two examinations of the storage: at least this time, and this multiple of the last examination's
time."""

ClientAddress = Callable[[Request], str]

_log = logging.getLogger(__name__)
_codes = {404: "not_found", 405: "method_not_allowed"}


def discovery_app(
    service: DiscoveryService,
    bell: Bell,
    *,
    on_shutdown: Callable[[], None] = lambda: None,
    check_storage: Callable[[], None] = lambda: None,
    examine_storage: Callable[[], None] | None = None,
    client_address: ClientAddress | None = None,
    limits: RateLimits | None = None,
    meter: Meter | None = None,
    more_sweeps: Sequence[Callable[[], None]] = (),
    sweep_interval_s: float = SWEEP_INTERVAL_S,
) -> Starlette:
    """Build the application. While it runs, it calls the service's sweep and ``more_sweeps`` regularly; when it ends,
    it calls ``on_shutdown``. The service rings the ``bell`` when it has decided a task.

    ``check_storage`` raises DiscoveryUnavailable if the storage does not answer. ``examine_storage`` does so after
    reading all of it, which may take long, and is called from time to time. Without ``limits``, the number of requests
    is unlimited.
    """
    client_address, meter = client_address or ClientAddresses(), meter or Meter()

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        background = [
            asyncio.create_task(_sweep_for_ever([service.sweep, *more_sweeps], meter, sweep_interval_s)),
            *([] if examine_storage is None else [asyncio.create_task(_examine_for_ever(examine_storage))]),
        ]
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background)
            on_shutdown()

    document = msgspec.json.encode(openapi_document())
    page = html_page(openapi_document())

    async def openapi(_request: Request) -> Response:
        return Response(document, media_type="application/json")

    async def docs(_request: Request) -> Response:
        return HTMLResponse(page)

    async def health(_request: Request) -> Response:
        return await _health(check_storage)

    routes = [
        *(
            StarletteRoute(route.path, _endpoint(route, service, bell, client_address), methods=[route.method])
            for route in ROUTES
        ),
        StarletteRoute("/openapi.json", openapi),
        StarletteRoute("/docs", docs),
        StarletteRoute("/health", health),
    ]
    gate = Middleware(
        Gate,
        client_address=client_address,
        limits=limits,
        meter=meter,
        paths={route.endpoint: route.path for route in routes},
    )
    app = Starlette(
        routes=routes, middleware=[gate], exception_handlers={HTTPException: _http_error}, lifespan=lifespan
    )
    app.state.on_stopping = bell.close
    return app


async def _sweep_for_ever(sweeps: Sequence[Callable[[], None]], meter: Meter, interval_s: float) -> None:
    while True:
        await asyncio.sleep(interval_s)
        failures = 0
        for sweep in sweeps:
            try:
                await to_thread.run_sync(sweep)
            except Exception:  # noqa: BLE001 - logged; a bad sweep must end neither the others nor later ones
                _log.exception("a sweep failed; the next one will try again")
                failures += 1
        if not failures:
            meter.swept()


async def _examine_for_ever(examine: Callable[[], None]) -> None:
    """Examine the storage for a small share of the time."""
    while True:
        started = time.monotonic()
        try:
            await to_thread.run_sync(examine, abandon_on_cancel=True)
        except StorageDamaged:
            pass  # the storage has logged it, and remembers it for /health
        except Exception:  # noqa: BLE001 - logged; it must not end the examinations
            _log.exception("the storage could not be examined; trying again")
        await asyncio.sleep(max(EXAMINE_INTERVAL_S, EXAMINE_PAUSES * (time.monotonic() - started)))


async def _health(check_storage: Callable[[], None]) -> Response:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            await to_thread.run_sync(check_storage, abandon_on_cancel=True)
    except StorageDamaged as error:
        return _error(503, "unavailable", str(error))
    except (DiscoveryUnavailable, TimeoutError):
        return _error(503, "unavailable", "the storage does not answer")
    return _json(200, {"status": "ok"})


def _endpoint(
    route: Route, service: DiscoveryService, bell: Bell, client_address: ClientAddress
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            call = Call(
                token=_bearer_token(request),
                source=client_address(request),
                body=None if route.request is None else _decoded(await _body(request) or b"{}", route.request),
            )

            async def look() -> Any:
                return await to_thread.run_sync(route.handle, service, call)

            waits = isinstance(call.body, VerdictQuery) and call.body.wait_s > 0
            reply = await (bell.held_back(call.body, look, caller=call.token) if waits else look())
        except (DiscoveryRefused, DiscoveryUnavailable) as error:
            return _refusal(error)
        except HTTPException:
            raise
        except ClientDisconnect:
            return Response(status_code=400)
        except Exception:  # noqa: BLE001 - logged; details of a defect are not for strangers
            _log.exception("%s %s failed", route.method, route.path)
            return _error(500, "internal_error", "the service failed; the operator's log has the details")
        return Response(status_code=204) if route.reply is None else _json(200, reply)

    return endpoint


def _bearer_token(request: Request) -> str:
    token = bearer_token(request.headers.get("authorization", ""))
    if not token:
        raise NotAuthenticated("the Authorization header has no bearer token")
    return token


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"a request may have at most {MAX_BODY_BYTES} bytes")
    except TimeoutError:
        late = f"the request did not arrive within {BODY_TIMEOUT_S:.0f} seconds"
        raise HTTPException(408, late, {"Connection": "close"}) from None
    return bytes(body)


def _decoded(body: bytes, kind: type) -> object:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(_sentence(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error


def _sentence(error: msgspec.ValidationError) -> str:
    """Say what is wrong and where. attrs adds the attribute, pattern and value to its errors, and msgspec prints all of
    it."""
    cause = error.__cause__
    if not isinstance(cause, ValueError | TypeError) or not cause.args:
        return str(error)
    path = str(error).rpartition(" - at ")[2] if str(error).endswith("`") else ""
    return f"{cause.args[0]}{f' - at {path}' if path.startswith('`$') else ''}"


def _refusal(error: DiscoveryRefused | DiscoveryUnavailable) -> Response:
    if isinstance(error, DiscoveryUnavailable):
        if error.__cause__ is not None:  # a failure; without a cause, the service is merely busy
            _log.warning("storage: %s", error, exc_info=error)
        return _error(503, "unavailable", str(error))
    status = STATUS[type(error)]
    body = ErrorBody(
        error=error.code,
        message=str(error),
        have=getattr(error, "have", None),
        need=getattr(error, "need", None),
    )
    response = _json(status, {name: value for name, value in msgspec.to_builtins(body).items() if value is not None})
    if isinstance(error, NotAuthenticated):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


async def _http_error(_request: Request, error: Any) -> Response:
    response = _error(error.status_code, _codes.get(error.status_code, "refused"), error.detail)
    response.headers.update(error.headers or {})
    return response


def _error(status: int, code: str, message: str) -> Response:
    return _json(status, {"error": code, "message": message})


def _json(status: int, content: object) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
