"""The discovery service as a process of its own, asked by hand."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests
from starlette.applications import Starlette

from ec262 import __version__
from ec262.adapters.tcp.tls_prober import TlsProber
from ec262.entrypoints.discovery import __main__ as discovery
from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app
from ec262.entrypoints.discovery.discovery_api import MAX_BODY_BYTES, discovery_app
from ec262.entrypoints.discovery.routes import ROUTES, STATUS
from ec262.entrypoints.foreman.bootstrap_foreman import build_foreman_discovery
from ec262.entrypoints.shared.settings import DiscoverySettings, ForemanSettings
from tests.discovery_town import REQUIREMENT, build_town, registration, worker_token
from tests.live_discovery import served

TOKEN = "somebody-" + "s" * 40
COMMAND = [sys.executable, "-m", "ec262.entrypoints.discovery"]


@contextmanager
def process(folder: Path, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the service; yield it and its URL. What it logged is in ``log`` afterwards."""
    database = f"sqlite:///{folder / 'discovery.sqlite'}"
    with (folder / "log").open("a") as log:
        running = subprocess.Popen(
            [*COMMAND, "--port", "0", "--database", database, *flags],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        assert running.stdout is not None
        try:
            line = running.stdout.readline()
            match = re.search(r"listens on (http://127\.0\.0\.1:\d+); start workers and foremen with --discovery", line)
            assert match, line + (folder / "log").read_text()
            yield running, match[1]
        finally:
            running.kill()
            running.wait()
            running.stdout.close()


def quiet_app() -> Starlette:
    """A service that nobody works for."""
    town = build_town()
    return discovery_app(town.service, town.bell)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service that nobody kills, in this process."""
    town = build_town(workers=3)
    with served(discovery_app(town.service, town.bell)) as address:
        yield address


def ask(url: str, method: str, path: str, *, token: str | None = TOKEN, **more: Any) -> requests.Response:
    headers = more.pop("headers", {}) | ({"Authorization": f"Bearer {token}"} if token else {})
    return requests.request(method, url + path, headers=headers, timeout=10, **more)


def error_of(response: requests.Response) -> str:
    body = response.json()
    assert body.keys() >= {"error", "message"}
    assert response.headers["Content-Type"] == "application/json"
    assert isinstance(body["message"], str)
    assert "Traceback" not in body["message"]
    return str(body["error"])


# --- the process ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sign", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_ends_in_good_order(tmp_path: Path, sign: signal.Signals, status: int) -> None:
    with process(tmp_path) as (running, url):
        assert ask(url, "POST", "/v1/account").json()["credits"] == 12
        running.send_signal(sign)
        assert running.wait(10) == status
    assert (tmp_path / "log").read_text() == ""


def test_kill_9_loses_no_credit(tmp_path: Path) -> None:
    accounts = {f"{name}-" + "x" * 40: 0 for name in ("a", "b", "c")}
    with process(tmp_path, "--grant", "7") as (running, url):
        for token in accounts:
            accounts[token] = ask(url, "POST", "/v1/account", token=token).json()
        running.kill()
        running.wait()
    with process(tmp_path, "--grant", "99") as (_, url):
        for token, account in accounts.items():
            assert ask(url, "POST", "/v1/account", token=token).json() == account


def test_its_files_are_the_owners_alone(tmp_path: Path) -> None:
    with process(tmp_path) as (_, url):
        ask(url, "POST", "/v1/account")
        files = list(tmp_path.glob("discovery.sqlite*"))
        assert len(files) == 3
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_its_log_has_requests_but_no_tokens(tmp_path: Path) -> None:
    with process(tmp_path, "-V") as (running, url):
        response = ask(url, "POST", "/v1/account")
        ask(url, "GET", f"/v1/{TOKEN}%0Aforged")
        running.terminate()
        running.wait(10)
    log = (tmp_path / "log").read_text()
    assert "POST /v1/account 200 in" in log
    assert response.headers["X-Request-Id"] in log
    assert "GET (no such route) 404 in" in log
    assert "forged" not in log
    assert TOKEN not in log


def test_small_replies_do_not_wait_for_acknowledgments(tmp_path: Path) -> None:
    """Nagle's algorithm and delayed ACKs together cost 40 ms a call."""
    times = []
    with process(tmp_path) as (_, url), requests.Session() as session:
        for _ in range(10):
            started = time.perf_counter()
            session.get(url + "/health", timeout=10)
            times.append(time.perf_counter() - started)
    assert min(times) < 0.03


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *flags], capture_output=True, text=True, timeout=30, check=False)


def test_a_taken_port_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("--port", str(port), "--database", f"sqlite:///{tmp_path / 'd'}")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == f"ec262: cannot listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--database", "sqlite:////nowhere/at/all"], "cannot open the database"),
        (["--database", "sqlite://"], "must be a file"),
        (["--database", "mysql://localhost/x"], "not supported"),
        (["--database", "nonsense"], "URL cannot be read"),
        (["--grant", "-1"], "bad setting"),
        (["--port", "65536"], "bad setting"),
        (["--config", "/nowhere.toml"], "cannot read the settings file"),
    ],
)
def test_the_reason_why_it_cannot_start_is_reported(
    flags: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert discovery.main(flags) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "reason"), [("192.0.2.1", "Cannot assign requested address"), ("..", "no such address")]
)
def test_a_host_that_cannot_be_listened_on_is_reported(
    host: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--host", host, "--port", "0", "--database", f"sqlite:///{tmp_path / 'd'}"]
    assert discovery.main(flags) == 2
    assert capsys.readouterr().err == f"ec262: cannot listen on {host} port 0: {reason}\n"


def test_a_file_that_is_not_a_database_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("dear diary, " * 100)
    assert discovery.main(["--database", f"sqlite:///{file}"]) == 2
    assert "not a SQLite database" in capsys.readouterr().err
    assert file.read_text() == "dear diary, " * 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        discovery.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ec262 {__version__}\n"


def test_the_announcement_names_an_address_that_others_can_use() -> None:
    with discovery._listen("127.0.0.1", 0) as listening:
        port = listening.getsockname()[1]
        anywhere = discovery._announcement(DiscoverySettings(host=discovery.ANYWHERE[0]), listening)
        version6 = discovery._announcement(DiscoverySettings(host="::1"), listening)
    assert f"http://{socket.gethostname()}:{port};" in anywhere
    assert f"http://[::1]:{port};" in version6


# --- building -------------------------------------------------------------------------------------------------------


async def test_an_embedded_services_accounts_are_there_from_the_start(tmp_path: Path) -> None:
    settings = DiscoverySettings(database=f"sqlite:///{tmp_path / 'd.sqlite'}", grant=0)
    with served(build_discovery_app(settings, accounts={TOKEN: 500})) as url:
        client = build_foreman_discovery(ForemanSettings(discovery=url), token=TOKEN)
        assert (await client.open_account()).credits == 500
        own = build_foreman_discovery(ForemanSettings(discovery=url, credentials=str(tmp_path / "keys")))
        assert (await own.open_account()).credits == 0
        for each in (client, own):
            await each.close()
    assert len(list((tmp_path / "keys").iterdir())) == 1


def test_books_that_do_not_balance_are_not_served(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = f"sqlite:///{tmp_path / 'd.sqlite'}"
    with served(build_discovery_app(DiscoverySettings(database=database), accounts={TOKEN: 5})):
        pass
    with closing(sqlite3.connect(tmp_path / "d.sqlite")) as thief:
        thief.execute("UPDATE balances SET balance = 50 WHERE balance = 5")
        thief.commit()
    assert discovery.main(["--port", "0", "--database", database]) == 2
    assert "the books do not balance" in capsys.readouterr().err


async def test_the_default_database_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with served(build_discovery_app(DiscoverySettings())) as url:
        assert ask(url, "POST", "/v1/account").json()["credits"] == 12
    assert stat.S_IMODE((tmp_path / "ec262").stat().st_mode) == 0o700


# --- requests -------------------------------------------------------------------------------------------------------


def test_health(url: str) -> None:
    response = ask(url, "GET", "/health", token=None)
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer short", f"Bearer {TOKEN}\x7f", "Bearer ä"]
)
def test_bad_tokens(url: str, header: str) -> None:
    for method, path in [("POST", "/v1/account"), ("DELETE", "/v1/worker")]:
        response = ask(url, method, path, token=None, headers={"Authorization": header.encode()})
        assert (response.status_code, error_of(response)) == (401, "not_authenticated")
        assert response.headers["WWW-Authenticate"] == "Bearer"


def test_an_unknown_token(url: str) -> None:
    response = ask(url, "POST", "/v1/verdicts", token="z" * 40, json={"tasks": []})
    assert (response.status_code, error_of(response)) == (401, "not_authenticated")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Object missing required field `tasks`"),
        (b"{", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b'{"more":' + b"[" * 100_000, "the body is not JSON"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "Object missing required field `tasks`"),
        (b'{"tasks": [1]}', "Expected `str`, got `int` - at `$.tasks[0]`"),
        (b'{"tasks": ["x"]}', r"'tasks' must match regex '[A-Za-z0-9_-]{8,64}' ('x' doesn't)"),
        (json.dumps({"tasks": ["t" * 32] * 1001}).encode(), "Length of 'tasks' must be <= 1000: 1001"),
    ],
)
def test_malformed_bodies(url: str, body: bytes, message: str) -> None:
    ask(url, "POST", "/v1/account")
    response = ask(url, "POST", "/v1/verdicts", data=body)
    assert (response.status_code, error_of(response)) == (400, "invalid_request")
    assert message in response.json()["message"]
    assert "Attribute(" not in response.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rule": "dice"}, "unknown verification rule 'dice'"),
        ({"rule": "majority:3:1"}, "a quorum of 1 of 3 replicas is not a majority"),
        ({"tasks": 0}, "'tasks' must be >= 1: 0"),
        ({"deadline_s": 1e12}, "'deadline_s' must be <= 86400"),
        (
            {"requirement": {"python": {"implementation": "x", "magic": -1, "cloudpickle": "1", "version": "3"}}},
            "- at `$",
        ),
    ],
)
def test_bad_purchases(url: str, change: dict[str, Any], message: str) -> None:
    python = {"implementation": "cpython", "magic": 1, "cloudpickle": "3", "version": "3.11"}
    body = {"purchase": "purchase-1", "tasks": 1, "rule": "majority:3", "deadline_s": 1} | {
        "requirement": {"python": python}
    }
    response = ask(url, "POST", "/v1/purchases", json=body | change)
    assert (response.status_code, error_of(response)) == (400, "invalid_request")
    assert message in response.json()["message"]


def test_a_shortage_of_credits_is_reported_in_numbers(url: str) -> None:
    ask(url, "POST", "/v1/account", token="p" * 40)
    tag = REQUIREMENT.python
    python = {
        "implementation": tag.implementation,
        "magic": tag.magic,
        "cloudpickle": tag.cloudpickle,
        "version": "3.11",
    }
    body = {
        "purchase": "purchase-1",
        "tasks": 1,
        "rule": "majority:3",
        "deadline_s": 60,
        "requirement": {"python": python},
    }
    response = ask(url, "POST", "/v1/purchases", token="p" * 40, json=body)
    assert response.status_code == 402
    assert response.json() == {
        "error": "insufficient_credits",
        "message": "insufficient credits: have 0, need 3",
        "have": 0,
        "need": 3,
    }


def test_an_oversize_body_is_not_read(url: str) -> None:
    response = ask(url, "POST", "/v1/verdicts", data=b" " * (MAX_BODY_BYTES + 1))
    assert (response.status_code, error_of(response)) == (413, "refused")
    assert ask(url, "POST", "/v1/verdicts", data=b" " * MAX_BODY_BYTES).status_code == 400


def test_a_body_that_does_not_come(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ec262.entrypoints.discovery.discovery_api.BODY_TIMEOUT_S", 0.1)
    host, port = url.removeprefix("http://").split(":")
    head = f"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(head.encode() + b"{")
        reply = connection.recv(4096).lower()
    assert reply.startswith(b"http/1.1 408 ")
    assert b"\r\nconnection: close\r\n" in reply  # or it would be held until it has been idle for long


def test_a_caller_that_hangs_up_is_not_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="ec262")
    with served(quiet_app()) as url:
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(head.encode() + b"{")
        deadline = time.monotonic() + 5
        while "POST /v1/verdicts 400" not in caplog.text and time.monotonic() < deadline:
            assert ask(url, "GET", "/health").status_code == 200
    assert "POST /v1/verdicts 400" in caplog.text
    assert "failed" not in caplog.text


def test_unknown_paths_and_methods(url: str) -> None:
    response = ask(url, "GET", "/v2/account")
    assert (response.status_code, error_of(response)) == (404, "not_found")
    response = ask(url, "PATCH", "/v1/worker")
    assert (response.status_code, error_of(response)) == (405, "method_not_allowed")
    assert response.headers["Allow"]


def test_web_pages_are_refused(url: str) -> None:
    for path in ("/v1/account", "/health", "/docs"):
        response = ask(url, "POST", path, headers={"Origin": "http://example.com"})
        assert (response.status_code, error_of(response)) == (403, "forbidden")


def test_forwarded_headers_are_not_believed(url: str) -> None:
    ask(url, "POST", "/v1/account")
    python = {"implementation": "cpython", "magic": 1, "cloudpickle": "3", "version": "3.11"}
    body = {
        "port": 4000,
        "fingerprint": "ab" * 32,
        "runtime": {"python": python, "machine": "x", "sandbox": "y", "canonical_format": 1},
    }
    headers = {"X-Forwarded-For": "10.9.8.7", "Forwarded": "for=10.9.8.7", "X-Real-Ip": "10.9.8.7"}
    lease = ask(url, "PUT", "/v1/worker", json=body, headers=headers).json()
    assert lease["address"]["host"] == "127.0.0.1"


def test_replies_are_not_stored_by_anybody(url: str) -> None:
    assert ask(url, "POST", "/v1/account").headers["Cache-Control"] == "no-store"


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="needs a socket that takes IPv4 and IPv6")
def test_an_ipv4_address_is_spelt_as_such_on_an_ipv6_socket() -> None:
    listening = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    with served(quiet_app(), listening) as url:
        ask(url, "POST", "/v1/account")
        lease = ask(url, "PUT", "/v1/worker", data=msgspec.json.encode(registration())).json()
    assert lease["address"]["host"] == "127.0.0.1"


# --- defects --------------------------------------------------------------------------------------------------------


def test_a_defect_tells_strangers_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    town = build_town()

    def fail(*_arguments: object) -> None:
        raise ZeroDivisionError("the secret of the house")

    monkeypatch.setattr(town.service.accounts, "open", fail)
    with served(discovery_app(town.service, town.bell)) as url:
        response = ask(url, "POST", "/v1/account")
    assert (response.status_code, error_of(response)) == (500, "internal_error")
    assert "secret of the house" not in response.text
    assert "secret of the house" in caplog.text


def test_a_storage_that_does_not_answer_is_reported_as_temporary(tmp_path: Path) -> None:
    settings = DiscoverySettings(database=f"sqlite:///{tmp_path / 'd.sqlite'}")
    with served(build_discovery_app(settings)) as url:
        ask(url, "POST", "/v1/account")
        with sqlite3.connect(tmp_path / "d.sqlite") as thief:
            thief.execute("ALTER TABLE accounts RENAME TO gone")
        response = ask(url, "POST", "/v1/account")
        assert (response.status_code, error_of(response)) == (503, "unavailable")
        thief.execute("ALTER TABLE gone RENAME TO accounts")
        thief.close()
        assert ask(url, "POST", "/v1/account").status_code == 200


def test_the_service_sweeps_by_itself_and_outlives_a_bad_sweep(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    town, swept = build_town(), threading.Event()
    failures = [ZeroDivisionError("once")]

    def sweep() -> None:
        if failures:
            raise failures.pop()
        swept.set()

    monkeypatch.setattr(town.service, "sweep", sweep)
    with served(discovery_app(town.service, town.bell, sweep_interval_s=0.01)):
        assert swept.wait(5)
    assert "a sweep failed" in caplog.text


def test_a_sweep_that_always_fails_does_not_keep_the_others_from_running(monkeypatch: pytest.MonkeyPatch) -> None:
    town, other = build_town(), threading.Event()

    def fail() -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(town.service, "sweep", fail)
    with served(discovery_app(town.service, town.bell, sweep_interval_s=0.01, more_sweeps=[other.set])):
        assert other.wait(5)


# --- the document ---------------------------------------------------------------------------------------------------


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, value in node.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_openapi_document_describes_every_route(url: str) -> None:
    document = ask(url, "GET", "/openapi.json", token=None).json()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == __version__
    described = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described.keys() == {(route.method, route.path) for route in ROUTES}
    assert len({operation["operationId"] for operation in described.values()}) == len(ROUTES)
    for route in ROUTES:
        operation = described[route.method, route.path]
        assert ("requestBody" in operation) == (route.request is not None)
        assert operation["responses"].keys() >= {"401", "500", "503"} | {str(STATUS[e]) for e in route.errors}
        for reply in operation["responses"].values():
            assert reply["description"]


def test_the_openapi_document_tells_the_limits(url: str) -> None:
    schemas = ask(url, "GET", "/openapi.json", token=None).json()["components"]["schemas"]
    order, limits = schemas["BuyTasks"]["properties"], {"minimum": 1, "maximum": 1000}
    assert order["tasks"].items() >= limits.items()
    assert order["purchase"]["pattern"] == "^(?:[A-Za-z0-9_-]{8,64})$"
    assert (order["avoid"]["maxItems"], order["avoid"]["items"]["pattern"]) == (1000, order["purchase"]["pattern"])
    digest = schemas["Commitment"]["properties"]["digest"]
    assert (digest["minLength"], digest["maxLength"]) == (44, 44)
    assert schemas["AddReplicas"]["properties"]["orders"]["minItems"] == 1
    assert schemas["PythonTag"]["properties"]["magic"]["exclusiveMaximum"] == 65536
    invitation = schemas["OpenAccount"]["properties"]["invitation"]
    assert [sorted(choice) for choice in invitation["anyOf"]] == [["pattern", "type"], ["type"]]


def test_the_openapi_document_has_no_loose_ends(url: str) -> None:
    document = ask(url, "GET", "/openapi.json", token=None).json()
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(references(document)) == named
    assert document["security"] == [{name: []} for name in document["components"]["securitySchemes"]]


def test_every_refusal_of_a_route_has_a_status() -> None:
    assert {error for route in ROUTES for error in route.errors} <= STATUS.keys()


def test_the_page_is_whole_by_itself(url: str) -> None:
    response = ask(url, "GET", "/docs", token=None)
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    for route in ROUTES:
        assert f"{route.method} {route.path}" in response.text
    assert not re.search(r"<script|https?://|<link|<img", response.text)
    targets = set(re.findall(r'href="#(\w+)"', response.text))
    assert targets <= set(re.findall(r'id="(\w+)"', response.text))


# --- knocking -------------------------------------------------------------------------------------------------------


def test_silent_strangers_do_not_keep_leases_from_being_renewed(caplog: pytest.LogCaptureFixture) -> None:
    """Each registration at a silent port takes three seconds; of one account there is one under way at a time."""
    town = build_town(workers=1)
    town.service.accounts.open(TOKEN)
    town.service.workers._prober = TlsProber()
    with (
        socket.create_server(("127.0.0.1", 0), backlog=100) as mute,
        served(discovery_app(town.service, town.bell)) as url,
        ThreadPoolExecutor(20) as strangers,
    ):

        def register(port: int, token: str) -> requests.Response:
            return ask(url, "PUT", "/v1/worker", token=token, json=msgspec.to_builtins(registration(port)))

        evil = [strangers.submit(register, mute.getsockname()[1], TOKEN) for _ in range(20)]
        refused = next(as_completed(evil)).result()
        started = time.monotonic()
        assert register(4000, worker_token(0)).status_code == 200
        assert time.monotonic() - started < 1
        statuses = Counter(each.result().status_code for each in evil)
    assert (refused.status_code, error_of(refused)) == (503, "unavailable")
    assert statuses == {503: 19, 422: 1}
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
