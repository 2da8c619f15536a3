"""Clients of 2012 against the service as its operator starts it: what they send and what they get, byte by byte."""

from __future__ import annotations

import base64
import json
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import attrs
import pytest
import requests

from ec262.adapters.sql.sql_unit_of_work import SqlDatabase
from ec262.domain.errors import LedgerError
from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app
from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.entrypoints.discovery_admin import __main__ as discovery_admin
from ec262.entrypoints.shared.settings import DiscoverySettings
from tests.live_discovery import served
from tests.old_client import OldClient, RawReply, only_id
from tests.waits import wait_until

JSON_2012 = b"application/json;charset=utf-8"
UNKNOWN_TASK = b'{"error":"Unknown task"}'
UNKNOWN_CLIENT = b'{"error":"Unknown client"}'
OK, BAD, FORBIDDEN, NOT_FOUND = (
    b"HTTP/1.1 200 OK",
    b"HTTP/1.1 400 Bad Request",
    b"HTTP/1.1 403 Forbidden",
    b"HTTP/1.1 404 Not Found",
)
BOSS = "127.0.0.9"


@attrs.frozen
class Service:
    """A running discovery process."""

    process: subprocess.Popen[str]
    port: int
    host: str

    def at(self, addr: str) -> OldClient:
        """A client at an address."""
        return OldClient(self.port, addr, self.host)

    @property
    def boss(self) -> OldClient:
        """The client that is the foreman."""
        return self.at(BOSS)

    def workers(self, count: int = 3) -> list[OldClient]:
        """Clients at 127.0.1.1 and so on, registered."""
        clients = [self.at(f"127.0.1.{number}") for number in range(1, count + 1)]
        for client in clients:
            assert client.register_worker().status == OK
        return clients


@contextmanager
def service(folder: Path, *flags: str, host: str = "127.0.0.1", database: str | None = None) -> Iterator[Service]:
    """Start a service over the folder's database, or another; what it logs is in the folder's ``log``."""
    command = [sys.executable, "-m", "ec262.entrypoints.discovery", "--host", host, "--port", "0", "-v"]
    url = database or sqlite_url(folder)
    with (folder / "log").open("a") as log:
        process = subprocess.Popen([*command, "--database", url, *flags], stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            port = re.search(r":(\d+)[;\s]", line)
            assert port, line + (folder / "log").read_text()
            yield Service(process, int(port[1]), host)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for tests that do not mind each other: each has addresses of its own."""
    with service(tmp_path_factory.mktemp("shared"), "--api-2012") as running:
        yield running


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One in which tasks live for a second, behind a proxy."""
    flags = ("--api-2012", "--task-ttl", "1", "--trusted-proxy", "127.0.3.1")
    with service(tmp_path_factory.mktemp("hasty"), *flags) as running:
        yield running


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Service]:
    """A service that nobody else has used."""
    with service(tmp_path, "--api-2012") as running:
        yield running


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'discovery.sqlite'}"


def number(database: str, what: str) -> int:
    """Look into a service's database."""
    with closing(SqlDatabase(database)) as opened, opened.engine.connect() as connection:
        return int(connection.exec_driver_sql(f"SELECT {what}").scalar_one() or 0)


def rows(folder: Path, table: str) -> int:
    """Count a table's rows in the folder's database, while the service may be at work on it."""
    with closing(sqlite3.connect(folder / "discovery.sqlite", timeout=10)) as database:
        (count,) = database.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - a name from below
    return int(count)


TRADE = ("entries_2012 WHERE reason = 'refund'", "entries_2012 WHERE reason = 'pay'")


def assert_reply(reply: RawReply, status: bytes, body: bytes) -> None:
    assert (reply.status, reply.body) == (status, body)
    assert reply.headers[b"content-type"] == JSON_2012


def record(reply: RawReply) -> dict[str, str]:
    decoded: dict[str, str] = json.loads(reply.body)
    return decoded


def expiry_in(reply: RawReply, seconds: float) -> bytes:
    """The expiry that a record shows, which must be that many seconds from now."""
    found = re.search(rb'"expiry":"(\d+)"', reply.body)
    assert found, reply
    assert abs(int(found[1]) - (time.time() + seconds)) < 5
    return found[1]


# --- what an old client sends ---------------------------------------------------------------------------------------


def test_a_day_of_old_clients_byte_for_byte(own: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boss = own.boss
    assert_reply(boss.send(b"GET", b"//"), NOT_FOUND, UNKNOWN_CLIENT)
    workers = [own.at(f"127.0.0.{number}") for number in (2, 3, 4)]
    for worker in workers:
        reply = worker.register_worker(port=11235, ttl=60)
        expiry = expiry_in(reply, 60)
        body = b'{"addr":"%s","port":"11235","expiry":"%s","credits":"12"}' % (worker.addr.encode(), expiry)
        assert_reply(reply, OK, body)
        assert_reply(worker.send(b"GET", b"//"), OK, body)

    reply = boss.get_tasks(2)
    seven = only_id(reply)
    endpoints = {b"127.0.0.2:11235", b"127.0.0.3:11235", b"127.0.0.4:11235"}
    told = re.findall(rb'"(127[^"]+)"', reply.body)
    assert set(told) == endpoints
    assert_reply(reply, OK, b'{"%s":["%s","%s","%s"]}' % (seven, *told))
    assert_reply(boss.send(b"GET", b"//"), OK, b'{"addr":"127.0.0.9","credits":"9"}')
    assert_reply(boss.get_tasks(2), OK, b"{}")

    reply = workers[0].encrypt_data(seven)
    key = reply.body[len(b'{"key":"') : -len(b'"}')]
    assert len(base64.b64decode(key, validate=True)) == 16
    for worker in workers * 2:
        assert_reply(worker.encrypt_data(seven), OK, b'{"key":"%s"}' % key)
    for stranger in (boss, own.at("127.0.0.5")):
        assert_reply(stranger.encrypt_data(seven), NOT_FOUND, UNKNOWN_TASK)
        assert_reply(stranger.encrypt_data(b"7"), NOT_FOUND, UNKNOWN_TASK)
    assert_reply(workers[0].decrypt_data(seven, b""), NOT_FOUND, UNKNOWN_TASK)

    assert_reply(boss.decrypt_data(seven, missing=b"127.0.0.3"), OK, b'{"key":"%s"}' % key)
    for call in (boss.decrypt_data(seven, b""), boss.invalidate_data(seven), workers[0].encrypt_data(seven)):
        assert_reply(call, NOT_FOUND, UNKNOWN_TASK)
    for worker, counted in zip(workers, (b"completed", b"failed", b"completed"), strict=True):
        reply = worker.send(b"GET", b"/")
        body = b'{"addr":"%s","port":"11235","expiry":"%s","credits":"13","tasks_%s":"1"}'
        assert_reply(reply, OK, body % (worker.addr.encode(), expiry_in(reply, 60), counted))

    for worker in workers:
        worker.register_worker()
    eight = only_id(boss.get_tasks(1))
    assert eight != seven
    assert_reply(boss.invalidate_data(eight), OK, b'{"credits":9}')
    assert_reply(boss.invalidate_data(eight), NOT_FOUND, UNKNOWN_TASK)
    assert_reply(boss.send(b"GET", b"/"), OK, b'{"addr":"127.0.0.9","credits":"9"}')

    request_id = boss.send(b"GET", b"/%0Afake").headers[b"x-request-id"]
    log = (tmp_path / "log").read_text()
    for line in ("POST /workers 200 in", "POST /tasks 200 in", "GET /tasks/ID 200 in", "DELETE /tasks/ID 404 in"):
        assert line in log
    assert request_id.decode() in log
    for secret in (key.decode(), seven.decode(), "fake"):
        assert secret not in log


def test_the_reply_to_a_client_without_credits_byte_for_byte(shared: Service) -> None:
    shared.workers(15)
    poor = b'{"error":"Insufficient credits","available_credits":12,"needed_credits":15}'
    for _ in range(2):
        assert_reply(shared.boss.get_tasks(5), b"HTTP/1.1 406 Not Acceptable", poor)
    reply = shared.boss.get_tasks(4)
    assert (reply.status, reply.body.count(b"127.0.1.")) == (OK, 12)


def test_errors_byte_for_byte(shared: Service) -> None:
    client = shared.at("127.0.2.1")
    no_port = b'{"error":"port must be a whole number from 1 to 65535"}'
    assert_reply(client.send(b"POST", b"//workers", b"port=0"), BAD, no_port)
    no_ttl = b'{"error":"ttl must be a whole number of seconds from 1 to 86400, or -1 to leave"}'
    assert_reply(client.send(b"POST", b"//workers", b"ttl=1.5"), BAD, no_ttl)
    no_n = b'{"error":"n must be a plain decimal number of at least 1"}'
    for n in (b"0", b"", b"-1", b"1e3", b"%D9%A3", b"1 "):
        assert_reply(client.send(b"POST", b"//tasks", b"n=" + n), BAD, no_n)
    for path in (
        b"/workers/",
        b"/tasks/",
        b"//tasks/7/",
        b"/seed",
        b"/v1",
        b"/health/",
        b"//v1/account",
        b"/index.html",
    ):
        assert_reply(client.send(b"GET", path), NOT_FOUND, b'{"error":"Unknown route"}')
    for method, path in ((b"GET", b"//workers"), (b"PUT", b"/tasks/7"), (b"POST", b"//"), (b"PATCH", b"//tasks")):
        reply = client.send(method, path, b"_method=POST", b"X-HTTP-Method-Override: DELETE")
        assert_reply(reply, b"HTTP/1.1 405 Method Not Allowed", b'{"error":"Method not allowed"}')
    reply = client.send(b"HEAD", b"/")
    assert (reply.status, reply.headers[b"content-type"]) == (b"HTTP/1.1 405 Method Not Allowed", JSON_2012)
    for path in (b"//workers", b"//tasks", b"/nowhere"):
        reply = client.send(b"POST", path, b"port=1", b"Origin: http://evil.example")
        assert (reply.status, reply.headers[b"content-type"]) == (FORBIDDEN, JSON_2012)
        assert json.loads(reply.body).keys() == {"error"}
    assert_reply(client.send(b"GET", b"/"), NOT_FOUND, UNKNOWN_CLIENT)


def test_request_bodies_that_are_not_forms_are_refused(shared: Service) -> None:
    client = shared.at("127.0.2.2")
    text = b'{"port": 7}'
    head = b"POST //workers?port=7 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    reply = client.raw(head + b"Content-Length: %d\r\n\r\n" % len(text) + text)
    assert reply.status == b"HTTP/1.1 415 Unsupported Media Type"
    assert reply.headers[b"content-type"] == JSON_2012
    large = client.send(b"POST", b"//workers", b"x" * 20_000)
    assert large.status == b"HTTP/1.1 413 Content Too Large" or large.status.startswith(b"HTTP/1.1 413 ")
    assert large.headers[b"content-type"] == JSON_2012
    assert_reply(client.send(b"GET", b"/"), NOT_FOUND, UNKNOWN_CLIENT)


def test_leaving(shared: Service) -> None:
    client = shared.at("127.0.2.3")
    reply = client.register_worker(port=5, ttl=-1)
    body = b'{"addr":"127.0.2.3","port":"5","expiry":"%s","credits":"12"}' % expiry_in(reply, -1)
    assert_reply(reply, OK, body)


def test_parameters_in_the_query_and_in_chunks(shared: Service) -> None:
    client = shared.at("127.0.2.4")
    assert record(client.send(b"POST", b"//workers?port=5&ttl=-1"))["port"] == "5"
    assert record(client.send(b"POST", b"//workers?port=5&ttl=-1", b"port=6&port=7"))["port"] == "7"
    assert record(client.send(b"POST", b"//workers?port%5B%5D=5&ttl=-1", b"port[]=6"))["port"] == "26262"
    chunked = (
        b"POST //workers HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n6\r\nport=9\r\n7\r\n&ttl=-1\r\n0\r\n\r\n"
    )
    assert record(client.raw(chunked))["port"] == "9"


def test_a_client_is_the_address_of_its_connection(shared: Service) -> None:
    client = shared.at("127.0.2.5")
    forged = (b"X-Forwarded-For: 127.0.2.6", b"Forwarded: for=127.0.2.6", b"X-Real-IP: 127.0.2.6")
    assert record(client.send(b"POST", b"//workers", b"ttl=-1", *forged))["addr"] == "127.0.2.5"
    assert_reply(shared.at("127.0.2.6").send(b"GET", b"/"), NOT_FOUND, UNKNOWN_CLIENT)


def test_a_proxy_that_is_named_is_believed(hasty: Service) -> None:
    forged = b"X-Forwarded-For: 10.0.0.1, ::ffff:10.0.0.2"
    assert record(hasty.at("127.0.3.1").send(b"POST", b"//workers", b"ttl=-1", forged))["addr"] == "10.0.0.2"
    assert record(hasty.at("127.0.3.2").send(b"POST", b"//workers", b"ttl=-1", forged))["addr"] == "127.0.3.2"


def test_ipv6_workers(tmp_path: Path) -> None:
    with service(tmp_path, "--api-2012", host="::1") as running:
        reply = running.at("::1").register_worker()
        body = b'{"addr":"::1","port":"11235","expiry":"%s","credits":"12"}' % expiry_in(reply, 60)
        assert_reply(reply, OK, body)


# --- beside /v1 -----------------------------------------------------------------------------------------------------


def test_v1_goes_on_beside_it(shared: Service) -> None:
    url = f"http://127.0.0.1:{shared.port}"
    assert requests.get(f"{url}/health", timeout=10).json() == {"status": "ok"}
    assert "paths" in requests.get(f"{url}/openapi.json", timeout=10).json()
    assert "<html" in requests.get(f"{url}/docs", timeout=10).text
    headers = {"Authorization": "Bearer somebody-" + "s" * 40}
    account = requests.post(f"{url}/v1/account", headers=headers, timeout=10)
    assert (account.status_code, account.json()["credits"]) == (200, 12)
    missing = requests.get(f"{url}/v1/nowhere", headers=headers, timeout=10)
    assert (missing.status_code, missing.json()["error"]) == (404, "not_found")
    other_verb = requests.patch(f"{url}/v1/account", headers=headers, timeout=10)
    assert (other_verb.status_code, other_verb.json()["error"]) == (405, "method_not_allowed")
    origin = requests.get(f"{url}/health", headers={"Origin": "http://evil.example"}, timeout=10)
    assert origin.json()["error"] == "forbidden"


def test_it_is_not_there_unless_switched_on(tmp_path: Path) -> None:
    with served(build_discovery_app(DiscoverySettings(database=sqlite_url(tmp_path)))) as url:
        client = OldClient(int(url.rpartition(":")[2]), BOSS)
        for method, path in ((b"POST", b"//workers"), (b"POST", b"/tasks"), (b"GET", b"/")):
            reply = client.send(method, path)
            assert reply.status == NOT_FOUND
            assert json.loads(reply.body)["error"] == "not_found"


# --- time, crashes, many at once ------------------------------------------------------------------------------------


def test_a_task_that_nobody_ends_is_refunded(hasty: Service) -> None:
    workers = hasty.workers()
    task = only_id(hasty.boss.get_tasks(1))
    assert workers[0].encrypt_data(task).status == OK
    assert_reply(hasty.boss.send(b"GET", b"/"), OK, b'{"addr":"127.0.0.9","credits":"9"}')
    wait_until(lambda: hasty.boss.send(b"GET", b"/").body == b'{"addr":"127.0.0.9","credits":"12"}')
    assert_reply(workers[0].encrypt_data(task), NOT_FOUND, UNKNOWN_TASK)
    assert_reply(hasty.boss.decrypt_data(task, b""), NOT_FOUND, UNKNOWN_TASK)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_many_at_once_never_hand_a_worker_out_twice(tmp_path: Path, kind: str, request: pytest.FixtureRequest) -> None:
    """Foremen buy from two processes over one database, and end every task three times at once."""
    url = sqlite_url(tmp_path) if kind == "sqlite" else request.getfixturevalue("postgres_url")
    with service(tmp_path, "--api-2012", database=url) as one, service(tmp_path, "--api-2012", database=url) as other:
        sides = (one, other)
        one.workers(30)
        foremen = [f"127.0.4.{number}" for number in range(1, 9)]

        def buy(turn: int) -> list[tuple[str, bytes, list[str]]]:
            client = sides[turn % 2].at(foremen[turn])
            bought = []
            for count in (2, 1, 1):
                reply = client.get_tasks(count)
                assert reply.status == OK, reply
                bought += [(client.addr, task.encode(), team) for task, team in json.loads(reply.body).items()]
            return bought

        with ThreadPoolExecutor(len(foremen)) as threads:
            bought = [task for tasks in threads.map(buy, range(len(foremen))) for task in tasks]
        drawn = [worker for _, _, team in bought for worker in team]
        assert len(bought) == 10  # all thirty workers
        assert len(set(drawn)) == len(drawn) == 30

        def end(turn: int) -> Counter[bytes]:
            foreman, task, _ = bought[turn % len(bought)]
            reply = sides[turn % 2].at(foreman).send(b"DELETE", b"/tasks/" + task, b"valid=%d" % (turn % 3 > 0))
            return Counter([reply.status])

        with ThreadPoolExecutor(8) as threads:  # each task is ended three times at once, from both sides
            statuses = sum(threads.map(end, range(3 * len(bought))), Counter())
        assert statuses == {OK: 10, NOT_FOUND: 20}
        assert number(url, "sum(credits) FROM clients_2012") == 12 * number(url, "count(*) FROM clients_2012")
        assert number(url, "count(*) FROM tasks_2012") == 0


def test_the_service_refunds_by_itself_and_the_operator_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    defaults = discovery_app.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "sweep_interval_s", 0.1)  # 5 s are long for a test
    url = sqlite_url(tmp_path)
    settings = DiscoverySettings(database=url, api_2012=True, task_ttl=0.2, api_2012_workers=1)
    with served(build_discovery_app(settings)) as address:
        port = int(address.rpartition(":")[2])
        OldClient(port, "127.0.0.2").register_worker()
        assert OldClient(port, BOSS).get_tasks(1).status == OK
        assert number(url, "count(*) FROM tasks_2012") == 1
        wait_until(lambda: not number(url, "count(*) FROM tasks_2012"))
    assert discovery_admin.main(["client-2012", BOSS, "--database", url]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"addr: {BOSS}\ncredits: 12\n")
    assert re.findall(r"([+-]\d+) +([a-z]+)", shown) == [("+12", "grant"), ("-1", "purchase"), ("+1", "refund")]
    assert discovery_admin.main(["client-2012", "127.0.0.99", "--database", url]) == 1


def test_kill_9_in_the_middle_loses_no_credit(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    with service(tmp_path, "--api-2012", "--task-ttl", "1") as running:
        workers = running.workers(9)
        stop = threading.Event()

        def trade(turn: int) -> None:
            client = running.at(f"127.0.5.{turn}")
            while not stop.is_set():
                try:
                    reply = client.get_tasks(1)
                    for task in json.loads(reply.body) if reply.status == OK else ():
                        if turn:  # the first foreman forgets its tasks
                            client.send(b"DELETE", b"/tasks/" + task.encode(), b"valid=%d" % (turn % 2))
                    workers[turn].register_worker()
                except (OSError, ValueError, AssertionError):
                    return  # the service is gone

        def stopped_with_open_tasks() -> bool:
            running.process.send_signal(signal.SIGSTOP)  # else the tasks could end between this look and the kill
            if all(rows(tmp_path, table) for table in ("tasks_2012", *TRADE)):
                return True
            running.process.send_signal(signal.SIGCONT)
            return False

        threads = [threading.Thread(target=trade, args=(turn,)) for turn in range(6)]
        for thread in threads:
            thread.start()
        wait_until(stopped_with_open_tasks)
        running.process.send_signal(signal.SIGKILL)
        stop.set()
        for thread in threads:
            thread.join()

    assert number(url, "count(*) FROM tasks_2012") > 0
    with service(tmp_path, "--api-2012") as running:  # its audit found nothing amiss
        wait_until(lambda: running.boss.register_worker().status == OK and not rows(tmp_path, "tasks_2012"))
    assert all(rows(tmp_path, entries) for entries in TRADE)
    assert number(url, "sum(credits) FROM clients_2012") == 12 * number(url, "count(*) FROM clients_2012")


def test_books_that_do_not_balance_stop_the_start(tmp_path: Path) -> None:
    settings = DiscoverySettings(database=sqlite_url(tmp_path), api_2012=True)
    with served(build_discovery_app(settings)) as url:
        OldClient(int(url.rpartition(":")[2]), "127.0.0.2").register_worker()
    with closing(sqlite3.connect(tmp_path / "discovery.sqlite")) as database:
        database.execute("UPDATE clients_2012 SET credits = 13")
        database.commit()
    with pytest.raises(LedgerError, match=r"credits of 127\.0\.0\.2 do not match the ledger"):
        build_discovery_app(settings)
