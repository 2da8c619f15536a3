"""Whatever strangers send to the 2012 API, the reply is JSON and no failure, and the books balance."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from hypothesis import example, given, settings
from hypothesis import strategies as st

from ec262.entrypoints.http.metrics import Meter
from ec262.entrypoints.legacy_2012.form_2012 import MAX_BODY_BYTES
from ec262.entrypoints.legacy_2012.routes_2012 import app_2012, connection_address
from tests.town_2012 import build_town, worker

METHODS = ["GET", "POST", "DELETE", "PUT", "HEAD"]
PATHS = ["/", "//workers", "//tasks", "/tasks/TASK", "/tasks/7", "/workers/", "/\0", "/tasks/\x80"]
NAMES = st.sampled_from(["port", "ttl", "n", "valid", "missing", "n[]", ""]) | st.text(max_size=3)
VALUES = st.sampled_from(["1", "0", "-1", "2", "60", "65536", worker(1), f"{worker(2)}:1", "[::1]:1", "9" * 5000, "٣"])
FIELDS = st.lists(st.tuples(NAMES, VALUES | st.text(max_size=4)), max_size=4).map(urlencode)
BODIES = FIELDS.map(str.encode) | st.binary(max_size=40)
KINDS = st.sampled_from([b"application/x-www-form-urlencoded", b"application/json", b"", b"\xff;="])
ADDRS = st.sampled_from([worker(1), worker(2), worker(9), "::1", "::ffff:10.0.0.1", "testclient"])
QUERIES = FIELDS | st.text(max_size=5)
Ask = tuple[str, str, str, bytes, bytes, str]
REQUESTS = st.tuples(st.sampled_from(METHODS), st.sampled_from(PATHS), QUERIES, BODIES, KINDS, ADDRS)


@settings(max_examples=60)
@example([("GET", "/", "", b"port=" + b"9" * MAX_BODY_BYTES, b"", worker(1))])
@given(st.lists(REQUESTS, min_size=1, max_size=30))
def test_no_request_is_a_failure(requests: list[Ask]) -> None:
    town = build_town(workers=6)
    (first, *_) = town.buy()
    app = app_2012(town.service, client_address=connection_address, limits=None, meter=Meter())

    async def ask(request: Ask) -> None:
        method, path, query, body, kind, addr = request

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": method,
            "path": path.replace("TASK", first.id),
            "query_string": query.encode(),
            "headers": [(b"content-type", kind)],
            "client": (addr, 1),
        }
        await app(scope, receive, send)
        start, end = sent
        assert start["status"] in {200, 400, 404, 405, 406, 413, 415}
        assert start["status"] != 413 or len(body) > MAX_BODY_BYTES
        assert (b"content-type", b"application/json;charset=utf-8") in start["headers"]
        reply = json.loads(end["body"])
        assert isinstance(reply, dict)
        assert (start["status"] == 200) == ("error" not in reply)

    async def ask_all() -> None:
        for request in requests:
            await ask(request)

    asyncio.run(ask_all())
    granted = town.service.audit()
    assert granted % 12 == 0
