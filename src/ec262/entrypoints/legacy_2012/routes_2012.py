"""The discovery API of 2012 over HTTP: a second set of routes, at the root, for clients that were never changed.

It trusts source addresses: a client is identified by the address of its connection (docs/discovery-2012.md).
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Collection, Mapping

import attrs
import msgspec
from anyio import to_thread
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from ec262.domain.errors import (
    DiscoveryRefused,
    DiscoveryUnavailable,
    InvalidRequest,
    PurchaseTooExpensive,
    UnknownClient,
    UnknownTask,
)
from ec262.domain.legacy_2012.addresses_2012 import canonical_addr
from ec262.domain.legacy_2012.parameters_2012 import Parameters, ending, registration, tasks_wanted
from ec262.domain.legacy_2012.tasks_2012 import Accepted2012
from ec262.entrypoints.http.metrics import Meter
from ec262.entrypoints.http.middleware import Gate
from ec262.entrypoints.http.rates import RateLimits
from ec262.entrypoints.legacy_2012.form_2012 import read_parameters
from ec262.services.legacy_2012.service_2012 import Discovery2012

CONTENT_TYPE = "application/json;charset=utf-8"

ClientAddress = Callable[[Request], str]
"""Returns the client's IP address as text."""

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Call2012:
    """One request: the client's address, the task (if the path names one), and the parameters."""

    addr: str
    task: str
    parameters: Parameters


Handler = Callable[[Discovery2012, Call2012], object]


def _record(service: Discovery2012, call: Call2012) -> object:
    return service.client(call.addr).record()


def _register(service: Discovery2012, call: Call2012) -> object:
    return service.register(call.addr, registration(call.parameters, service.constants)).record()


def _buy(service: Discovery2012, call: Call2012) -> object:
    tasks = service.buy(call.addr, tasks_wanted(call.parameters))
    return {task.id: [str(worker) for worker in task.workers] for task in tasks}


def _key(service: Discovery2012, call: Call2012) -> object:
    return {"key": _base64(service.key(call.addr, call.task))}


def _end(service: Discovery2012, call: Call2012) -> object:
    ended = service.end(call.addr, ending(call.task, call.parameters))
    return {"key": _base64(ended.key)} if isinstance(ended, Accepted2012) else {"credits": ended.credits}


def _base64(key: bytes) -> str:
    return base64.b64encode(key).decode("ascii")


ROUTES: Mapping[str, Mapping[str, Handler]] = {
    "/": {"GET": _record},
    "/workers": {"POST": _register},
    "/tasks": {"POST": _buy},
    "/tasks/ID": {"GET": _key, "DELETE": _end},
}
"""Handlers by path and method. There are no others: no HEAD, and no field that overrides the method."""

STATUS: Mapping[type[DiscoveryRefused], int] = {InvalidRequest: 400, UnknownClient: 404, UnknownTask: 404}


def connection_address(request: Request) -> str:
    """Return the address of the connection; forwarding headers are not trusted."""
    return request.client.host if request.client is not None else ""


class Api2012:
    """The ASGI application of the 2012 API."""

    def __init__(self, service: Discovery2012, *, client_address: ClientAddress = connection_address) -> None:
        self._service = service
        self._client_address = client_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, always in JSON."""
        request = Request(scope, receive)
        try:
            reply = _reply(200, await self._answer(request))
        except DiscoveryRefused as error:
            reply = _refusal(error)
        except HTTPException as error:
            reply = _reply(error.status_code, {"error": error.detail}, error.headers)
        except DiscoveryUnavailable as error:
            _log.warning("storage: %s", error, exc_info=error)
            reply = _reply(503, {"error": "Storage is not available"})
        except ClientDisconnect:
            return
        except Exception:  # noqa: BLE001 - logged; details of a defect are not for strangers
            _log.exception("%s %r failed", scope["method"], scope["path"])
            reply = _reply(500, {"error": "Internal error"})
        await reply(scope, receive, send)

    async def _answer(self, request: Request) -> object:
        route, task = _find(request.scope["path"])
        request.scope["endpoint"] = route  # the gate logs the route under this name
        handler = ROUTES[route].get(request.method)
        if handler is None:
            raise HTTPException(405, "Method not allowed", {"Allow": ", ".join(ROUTES[route])})
        parameters = await read_parameters(request)
        call = Call2012(addr=canonical_addr(self._client_address(request)), task=task, parameters=parameters)
        return await to_thread.run_sync(handler, self._service, call)


def _find(path: str) -> tuple[str, str]:
    """Return the route of a path, and the task in it. Repeated slashes, which old clients send, count as one."""
    path = re.sub("/+", "/", path)
    task = re.fullmatch("/tasks/([^/]+)", path)
    if task is not None:
        return "/tasks/ID", task[1]
    if path not in ROUTES:
        raise HTTPException(404, "Unknown route")
    return path, ""


def app_2012(
    service: Discovery2012, *, client_address: ClientAddress, limits: RateLimits | None, meter: Meter
) -> ASGIApp:
    """Return the application of the 2012 API behind a gate that refuses in the API's format."""
    return Gate(
        Api2012(service, client_address=client_address),
        client_address=client_address,
        limits=limits,
        meter=meter,
        paths={route: route for route in ROUTES},
        refuse=_refuse,
    )


class Beside:
    """ASGI middleware: passes all paths other than the application's to another API, including unknown routes."""

    def __init__(self, app: ASGIApp, *, api: ASGIApp, paths: Collection[str]) -> None:
        self._app = app
        self._api = api
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request to one of the two; ``/v1/`` and ``paths`` belong to the application."""
        own = scope["type"] != "http" or scope["path"] in self._paths or scope["path"].startswith("/v1/")
        await (self._app if own else self._api)(scope, receive, send)


def put_beside(v1: Starlette, api: ASGIApp) -> None:
    """Have the 2012 API answer wherever ``/v1`` has no route."""
    v1.add_middleware(Beside, api=api, paths={route.path for route in v1.routes if isinstance(route, Route)})


def _refuse(status: int, _code: str, message: str, headers: Mapping[str, str]) -> Response:
    return _reply(status, {"error": message}, headers)


def _refusal(error: DiscoveryRefused) -> Response:
    if isinstance(error, PurchaseTooExpensive):
        return _reply(
            406,
            {"error": "Insufficient credits", "available_credits": error.have, "needed_credits": error.need},
        )
    return _reply(STATUS[type(error)], {"error": str(error)})


def _reply(status: int, content: object, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(content), status, {"Content-Type": CONTENT_TYPE, **(headers or {})})
