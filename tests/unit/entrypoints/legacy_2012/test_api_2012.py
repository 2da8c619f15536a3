"""The routes of the 2012 API, without a socket: what is asked, and the exact bytes of the reply."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any, NoReturn

import attrs
import pytest
from starlette.requests import Request
from starlette.types import ASGIApp

from ec262.domain.errors import DiscoveryUnavailable
from ec262.entrypoints.http.metrics import Meter
from ec262.entrypoints.http.rates import Rate, RateLimits
from ec262.entrypoints.legacy_2012.form_2012 import MAX_BODY_BYTES, MAX_FIELDS, read_parameters
from ec262.entrypoints.legacy_2012.routes_2012 import ClientAddress, app_2012, connection_address
from tests.town_2012 import FOREMAN, STRANGER, Town2012, build_town, worker

FORM = "application/x-www-form-urlencoded"
UNKNOWN_TASK = b'{"error":"Unknown task"}'


def app_over(town: Town2012, client_address: ClientAddress = connection_address) -> ASGIApp:
    """The application with its gate."""
    return app_2012(town.service, client_address=client_address, limits=None, meter=Meter())


@attrs.frozen
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.body)


@attrs.frozen
class Caller:
    """Somebody at an address, with an application to call."""

    app: ASGIApp
    town: Town2012
    addr: str | None = FOREMAN

    def at(self, addr: str | None) -> Caller:
        """Somebody else."""
        return attrs.evolve(self, addr=addr)

    async def __call__(
        self, method: str, target: str, body: bytes | list[bytes] = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """Ask, with a form in the body unless the headers say otherwise."""
        path, _, query = target.partition("?")
        given = {"content-type": FORM} | {name.lower(): value for name, value in (headers or {}).items()}
        chunks = body if isinstance(body, list) else [body]
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
            "client": None if self.addr is None else (self.addr, 5),
        }
        sent: list[Any] = []

        async def receive() -> Any:
            if chunks:
                return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, end = sent
        return Reply(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, end["body"])


@pytest.fixture
def call() -> Caller:
    town = build_town(workers=3)
    return Caller(app_over(town), town)


# --- replies --------------------------------------------------------------------------------------------------------


async def test_replies_are_compact_and_their_type_is_spelt_as_ever(call: Caller) -> None:
    reply = await call.at("127.0.0.3")("POST", "/workers", b"port=4321")
    assert reply.status == 200
    assert reply.body == b'{"addr":"127.0.0.3","port":"4321","expiry":"1795330784","credits":"12"}'
    assert reply.headers["content-type"] == "application/json;charset=utf-8"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert (await call.at("127.0.0.3")("GET", "/")).body == reply.body


async def test_a_task_from_its_purchase_to_its_end(call: Caller) -> None:
    reply = await call("POST", "/tasks")
    ((name, endpoints),) = reply.json.items()
    assert reply.body == json.dumps({name: endpoints}, separators=(",", ":")).encode()
    assert sorted(endpoints) == [f"{worker(number)}:{4000 + number}" for number in (1, 2, 3)]
    reply = await call.at(worker(2))("GET", f"/tasks/{name}")
    key = reply.json["key"]
    assert len(base64.b64decode(key, validate=True)) == 16
    assert reply.body == b'{"key":"%s"}' % key.encode()
    reply = await call("DELETE", f"/tasks/{name}", f"valid=1&missing={worker(3)}".encode())
    assert (reply.status, reply.body) == (200, b'{"key":"%s"}' % key.encode())
    assert (await call("GET", "/")).body == b'{"addr":"10.0.0.1","credits":"9"}'
    assert (await call.at(worker(1))("GET", "/")).json["tasks_completed"] == "1"
    assert (await call.at(worker(3))("GET", "/")).json["tasks_failed"] == "1"


async def test_credits_of_a_refund_are_a_number(call: Caller) -> None:
    (name,) = (await call("POST", "/tasks")).json
    reply = await call("DELETE", f"/tasks/{name}")
    assert (reply.status, reply.body) == (200, b'{"credits":12}')


async def test_no_workers_is_an_empty_object(call: Caller) -> None:
    call.town.leave(1)
    reply = await call("POST", "/tasks", b"n=3")
    assert (reply.status, reply.body) == (200, b"{}")


async def test_a_shortage_of_credits_is_reported_in_numbers(call: Caller) -> None:
    call.town.join(*range(1, 16))
    reply = await call("POST", "/tasks", b"n=5")
    assert reply.status == 406
    assert reply.body == b'{"error":"Insufficient credits","available_credits":12,"needed_credits":15}'


async def test_workers_on_ipv6_are_spelt_in_brackets(call: Caller) -> None:
    await call.at("::1")("POST", "/workers", b"port=26262")
    call.town.leave(1)
    ((endpoints),) = (await call("POST", "/tasks")).json.values()
    assert "[::1]:26262" in endpoints


async def test_a_mapped_address_is_the_address(call: Caller) -> None:
    await call.at("::ffff:127.0.0.2")("POST", "/workers")
    assert (await call.at("127.0.0.2")("GET", "/")).json["addr"] == "127.0.0.2"


# --- errors ---------------------------------------------------------------------------------------------------------


async def test_asking_for_what_is_not_there(call: Caller) -> None:
    reply = await call.at(STRANGER)("GET", "/")
    assert (reply.status, reply.body) == (404, b'{"error":"Unknown client"}')
    (name,) = (await call("POST", "/tasks")).json
    for target in (f"/tasks/{name}", "/tasks/7", f"/tasks/{'0' * 32}", "/tasks/\0", "/tasks/ID", "/tasks/é"):
        for addr in (STRANGER, FOREMAN):
            reply = await call.at(addr)("GET", target)
            assert (reply.status, reply.body) == (404, UNKNOWN_TASK)
        reply = await call.at(worker(1))("DELETE", target, b"valid=1")
        assert (reply.status, reply.body) == (404, UNKNOWN_TASK)
        reply = await call.at(STRANGER)("DELETE", target, b"valid=rubbish")
        assert (reply.status, reply.body) == (404, UNKNOWN_TASK)
    assert (await call("DELETE", f"/tasks/{name}", b"valid=1")).status == 200


@pytest.mark.parametrize(
    "target", ["/workers/", "/tasks/", "//tasks//", "/tasks/7/", "/tasks/7/8", "/task", "/seed", "/v2", "workers", "*"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_unknown_routes(call: Caller, method: str, target: str) -> None:
    reply = await call(method, target)
    assert (reply.status, reply.body) == (404, b'{"error":"Unknown route"}')
    assert reply.headers["content-type"] == "application/json;charset=utf-8"


@pytest.mark.parametrize(
    ("target", "allowed"),
    [("/", "GET"), ("/workers", "POST"), ("//workers", "POST"), ("/tasks", "POST"), ("/tasks/7", "GET, DELETE")],
)
async def test_known_paths_with_another_verb(call: Caller, target: str, allowed: str) -> None:
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} - set(allowed.split(", ")):
        reply = await call(method, target, b"port=7&_method=POST", {"X-HTTP-Method-Override": "POST"})
        assert (reply.status, reply.body) == (405, b'{"error":"Method not allowed"}')
        assert reply.headers["allow"] == allowed
    assert call.town.service.audit() == 36


@pytest.mark.parametrize("target", ["//workers", "///workers", "////tasks", "//"])
async def test_doubled_slashes_count_as_one(call: Caller, target: str) -> None:
    method = "GET" if target == "//" else "POST"
    assert (await call.at(worker(1))(method, target)).status == 200


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/workers", b"port=0"),
        ("POST", "/workers", b"ttl=x"),
        ("POST", "/tasks", b"n=0"),
        ("POST", "/tasks", b"n="),
        ("POST", "/tasks", b"n"),
        ("POST", "/tasks", b"n=%FF"),
        ("POST", "/tasks", b"n=+1"),
        ("POST", "/tasks", b"n=1%0A"),
    ],
)
async def test_bad_values_have_no_effect(call: Caller, method: str, target: str, body: bytes) -> None:
    reply = await call.at(STRANGER)(method, target, body)
    assert reply.status == 400
    assert reply.json.keys() == {"error"}
    assert reply.headers["content-type"] == "application/json;charset=utf-8"
    assert (await call.at(STRANGER)("GET", "/")).status == 404
    assert len(call.town.pool()) == 3


async def test_a_bad_ending_leaves_the_task(call: Caller) -> None:
    (name,) = (await call("POST", "/tasks")).json
    reply = await call("DELETE", f"/tasks/{name}", b"valid=yes")
    assert (reply.status, reply.body) == (400, b'{"error":"valid must be 1 or 0"}')
    assert (await call.at(worker(1))("GET", f"/tasks/{name}")).status == 200


async def test_a_bad_port_leaves_the_record(call: Caller) -> None:
    before = (await call.at(worker(1))("GET", "/")).body
    assert (await call.at(worker(1))("POST", "/workers", b"port=65536&ttl=9")).status == 400
    assert (await call.at(worker(1))("POST", "/workers", b"port=80&ttl=86401")).status == 400
    assert (await call.at(worker(1))("GET", "/")).body == before


async def test_web_pages_are_refused_whatever_they_request(call: Caller) -> None:
    for method, target in (("GET", "/"), ("POST", "/workers"), ("DELETE", "/tasks/7"), ("GET", "/nowhere")):
        for origin in ("http://evil.example", "null"):
            reply = await call.at(STRANGER)(method, target, headers={"Origin": origin})
            assert reply.status == 403
            assert reply.json.keys() == {"error"}
    assert (await call.at(STRANGER)("GET", "/")).status == 404


async def test_too_many_requests_get_the_same_reply() -> None:
    town = build_town()
    limits = RateLimits(Rate(per_s=0.1, burst=1), town.clock)  # an address may do ten times as much as an account
    app = app_2012(town.service, client_address=connection_address, limits=limits, meter=Meter())
    replies = [await Caller(app, town)("POST", "/workers") for _ in range(11)]
    assert [reply.status for reply in replies] == [200] * 10 + [429]
    assert replies[-1].json.keys() == {"error"}
    assert replies[-1].headers["content-type"] == "application/json;charset=utf-8"
    assert replies[-1].headers["retry-after"] == "1"


async def test_a_connection_from_nowhere_is_nobodys(call: Caller) -> None:
    reply = await call.at(None)("POST", "/workers")
    assert reply.status == 400
    assert reply.json.keys() == {"error"}


async def test_forwarded_headers_are_not_believed(call: Caller) -> None:
    headers = {"X-Forwarded-For": "1.2.3.4", "Forwarded": "for=1.2.3.4", "X-Real-IP": "1.2.3.4"}
    assert (await call.at(STRANGER)("POST", "/workers", headers=headers)).json["addr"] == STRANGER


async def test_a_source_can_be_told_from_others() -> None:
    town = build_town()
    app = app_over(town, lambda request: request.headers["x-from"])
    assert (await Caller(app, town)("POST", "/workers", headers={"X-From": "::ffff:9.8.7.6"})).json["addr"] == "9.8.7.6"


# --- parameters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "body", "port"),
    [
        ("", b"", "26262"),
        ("port=1", b"", "1"),
        ("", b"port=2", "2"),
        ("port=1", b"port=2", "2"),
        ("port=1&port=3", b"", "3"),
        ("port=9", b"port=2&port=4", "4"),
        ("port[]=5&port[a]=6&Port=7&%70ort=8", b"x=y&=&&", "8"),
        ("port[]=5", b"port[]=6", "26262"),
        ("port=x", b"port=7", "7"),
    ],
)
async def test_where_parameters_come_from(call: Caller, query: str, body: bytes, port: str) -> None:
    assert (await call("POST", f"/workers?{query}", body)).json["port"] == port


async def test_every_verb_takes_parameters_in_either_place(call: Caller) -> None:
    for query, body in (("", b"valid=1"), ("?valid=1", b"")):
        (name,) = (await call("POST", "/tasks")).json
        assert (await call.at(worker(1))("GET", f"/tasks/{name}{query}", body)).json.keys() == {"key"}
        assert (await call.at(worker(1))("GET", f"/{query}", body)).json.keys() >= {"addr"}
        assert (await call("DELETE", f"/tasks/{name}{query}", body)).json.keys() == {"key"}
        call.town.join(1, 2, 3)


@pytest.mark.parametrize("kind", [FORM, FORM.upper(), f"{FORM}; charset=utf-8", ""])
async def test_a_form_is_a_form(call: Caller, kind: str) -> None:
    assert (await call("POST", "/workers", b"port=7", {"Content-Type": kind})).json["port"] == "7"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"port": 7}'),
        ("application/json; charset=utf-8", b"port=7"),
        ("text/plain", b"port=7"),
        ("multipart/form-data; boundary=x", b"--x--"),
    ],
)
async def test_any_other_body_is_refused(call: Caller, kind: str, body: bytes) -> None:
    for method, target in (("POST", "/workers?port=7"), ("GET", "/"), ("DELETE", "/tasks/7"), ("POST", "/tasks")):
        reply = await call.at(STRANGER)(method, target, body, {"Content-Type": kind})
        assert reply.status == 415
        assert reply.json.keys() == {"error"}
    assert (await call.at(STRANGER)("GET", "/")).status == 404
    assert (await call("POST", "/workers?port=7", b"", {"Content-Type": kind})).json["port"] == "7"


async def test_a_large_body_is_refused(call: Caller) -> None:
    just = b"port=7&x=" + b"x" * (MAX_BODY_BYTES - 9)
    assert (await call("POST", "/workers", [just[:100], just[100:]])).json["port"] == "7"
    for body in (just + b"x", [just, b"x"]):
        reply = await call("POST", "/workers", body)
        assert reply.status == 413
        assert reply.json.keys() == {"error"}
        assert reply.headers["connection"] == "close"


async def test_many_parameters_are_refused(call: Caller) -> None:
    assert (await call("POST", "/workers", b"&".join([b"x=1"] * MAX_FIELDS))).status == 200
    reply = await call("POST", "/workers", b"&".join([b"x=1"] * (MAX_FIELDS + 1)))
    assert reply.status == 400


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def receive() -> Any:
        await asyncio.sleep(60)

    request = Request({"type": "http", "method": "POST", "query_string": b"", "headers": []}, receive)
    with pytest.raises(Exception, match="did not arrive within") as raised:
        await read_parameters(request, timeout_s=0.01)
    assert getattr(raised.value, "status_code", None) == 408


async def test_a_caller_that_goes_away_gets_no_answer(call: Caller) -> None:
    with pytest.raises(ValueError, match="not enough values"):  # nothing was sent
        await call("POST", "/workers", [])
    assert (await call("GET", "/")).status == 404


# --- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (DiscoveryUnavailable("no disk"), 503, b'{"error":"Storage is not available"}'),
        (ZeroDivisionError("secret"), 500, b'{"error":"Internal error"}'),
    ],
)
async def test_failures_tell_strangers_nothing(
    caplog: pytest.LogCaptureFixture, error: Exception, status: int, text: bytes
) -> None:
    def fail() -> NoReturn:
        raise error

    town = build_town(unit_of_work=fail)
    with caplog.at_level(logging.WARNING):
        reply = await Caller(app_over(town), town)("GET", "/")
    assert (reply.status, reply.body) == (status, text)
    assert reply.headers["content-type"] == "application/json;charset=utf-8"
    assert str(error) in caplog.text
