"""Parameters of the 2012 API, from the query string and a form in the body, for every method."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from ec262.domain.errors import InvalidRequest
from ec262.domain.legacy_2012.parameters_2012 import Parameters

MAX_BODY_BYTES = 1 << 14
"""A hundred bytes are enough for all parameters of the API."""

MAX_FIELDS = 100
BODY_TIMEOUT_S = 10.0
FORM = "application/x-www-form-urlencoded"


async def read_parameters(request: Request, *, timeout_s: float = BODY_TIMEOUT_S) -> Parameters:
    """Return the parameters by name: the body overrides the query; if a name occurs more than once, the last value
    wins.

    Raises InvalidRequest if there are too many, HTTPException 413 or 408 for a body that is too large or too slow, 415
    for one that is not a form.
    """
    body = await _body(request, timeout_s)
    kind = request.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    if body and kind != FORM:
        raise HTTPException(415, "Parameters must be a form or in the query string")
    return _fields(request.scope["query_string"]) | _fields(body)


def _fields(encoded: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(encoded.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise InvalidRequest("too many parameters") from error


async def _body(request: Request, timeout_s: float) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise HTTPException(413, f"A body may have at most {MAX_BODY_BYTES} bytes", {"Connection": "close"})
    except TimeoutError:
        raise HTTPException(408, f"The body did not arrive within {timeout_s:.0f} s", {"Connection": "close"}) from None
    return bytes(body)
