"""What operators see of a running service, and whom it lets ask how often."""

from __future__ import annotations

import json
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from ec262.adapters.memory.clock import ManualClock
from ec262.adapters.memory.unit_of_work import MemoryStore
from ec262.domain.errors import ConfigurationError, DiscoveryUnavailable
from ec262.entrypoints import cli
from ec262.entrypoints.discovery import __main__ as discovery
from ec262.entrypoints.discovery import discovery_api
from ec262.entrypoints.discovery.bootstrap_discovery import build_discovery_app
from ec262.entrypoints.discovery.discovery_api import discovery_app
from ec262.entrypoints.discovery_admin import admin_command
from ec262.entrypoints.http.client_address import ClientAddresses
from ec262.entrypoints.http.metrics import PrometheusMeter, served_metrics
from ec262.entrypoints.http.rates import Rate, RateLimits
from ec262.entrypoints.shared.settings import DiscoverySettings, load_settings
from tests.discovery_process import running_discovery
from tests.discovery_town import FOREMAN, build_town, registration
from tests.live_discovery import served

TOKEN = "somebody-" + "s" * 40
OTHER = "somebody-else-" + "e" * 40


def ask(url: str, method: str, path: str, *, token: str = TOKEN, **more: Any) -> requests.Response:
    headers = more.pop("headers", {}) | {"Authorization": f"Bearer {token}"}
    return requests.request(method, url + path, headers=headers, timeout=10, **more)


def limited(per_s: float = 1.0, burst: float = 3.0) -> RateLimits:
    return RateLimits(Rate(per_s=per_s, burst=burst), ManualClock())


# --- rates ----------------------------------------------------------------------------------------------------------


def test_too_many_requests_are_answered_with_when_to_retry() -> None:
    town = build_town()
    with served(discovery_app(town.service, town.bell, limits=limited())) as url:
        assert [ask(url, "POST", "/v1/account").status_code for _ in range(3)] == [200, 200, 200]
        refused = ask(url, "POST", "/v1/account")
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert refused.json() == {
            "error": "too_many_requests",
            "message": "this account sends requests too often: wait 1.0 s",
        }
        assert refused.headers["X-Request-Id"]
        assert ask(url, "POST", "/v1/account", token=OTHER).status_code == 200


def test_the_spelling_of_a_header_does_not_change_the_account() -> None:
    town = build_town()
    with served(discovery_app(town.service, town.bell, limits=limited())) as url:
        statuses = [
            requests.post(url + "/v1/account", headers={"Authorization": header}, timeout=10).status_code
            for header in (f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}", f"beareR {TOKEN} ")
        ]
    assert statuses == [200, 200, 200, 429]


def test_nothing_of_a_refused_body_is_read() -> None:
    """A caller that announces a body, and sends none of it, is answered at once."""
    town = build_town()
    with served(discovery_app(town.service, town.bell, limits=limited(burst=1))) as url:
        ask(url, "POST", "/v1/account")
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /v1/verdicts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 999\r\n\r\n"
        with socket.create_connection((host, int(port)), timeout=5) as connection:
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 429 ")


def test_the_number_of_new_accounts_is_limited() -> None:
    town = build_town()
    with (
        served(discovery_app(town.service, town.bell, limits=limited(burst=1000))) as url,
        requests.Session() as session,
    ):

        def open_account(number: int) -> int:
            headers = {"Authorization": f"Bearer newcomer-{number:04}-{'n' * 32}"}
            return session.post(url + "/v1/account", headers=headers, timeout=10).status_code

        assert {open_account(number) for number in range(300)} == {200}
        assert open_account(300) == 429
        assert ask(url, "GET", "/v1/account", token=FOREMAN).status_code == 200


# --- proxies --------------------------------------------------------------------------------------------------------


def address_told(url: str, **headers: str) -> str:
    """Register without naming a host; return the one that the service saw."""
    ask(url, "POST", "/v1/account")
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    lease = ask(url, "PUT", "/v1/worker", data=msgspec.json.encode(registration()), headers=named)
    return str(lease.json()["address"]["host"])


def test_a_named_proxy_is_believed() -> None:
    town = build_town()
    app = discovery_app(town.service, town.bell, client_address=ClientAddresses(["127.0.0.0/8"]))
    with served(app) as url:
        assert address_told(url, X_Forwarded_For="203.0.113.1, 198.51.100.7") == "198.51.100.7"
        assert address_told(url, X_Real_Ip="198.51.100.7", Forwarded="for=198.51.100.7") == "127.0.0.1"
        assert address_told(url) == "127.0.0.1"


def test_forged_headers_of_strangers_change_nothing() -> None:
    town, limits = build_town(), limited(burst=1)
    app = discovery_app(town.service, town.bell, limits=limits, client_address=ClientAddresses(["198.51.100.1"]))
    with served(app) as url:
        forged = {"X-Forwarded-For": "198.51.100.7, 198.51.100.1"}
        statuses = [
            ask(url, "GET", "/health", token=f"{number:040}", headers=forged).status_code for number in range(11)
        ]
    assert statuses == [200] * 10 + [429]
    with served(discovery_app(town.service, town.bell, client_address=ClientAddresses(["198.51.100.1"]))) as url:
        assert address_told(url, X_Forwarded_For="198.51.100.7, 198.51.100.1") == "127.0.0.1"


@pytest.mark.parametrize("api_2012", [False, True])
def test_a_client_that_hides_behind_a_proxy_is_not_taken_for_it(*, api_2012: bool, tmp_path: Path) -> None:
    settings = DiscoverySettings(
        database=f"sqlite:///{tmp_path / 'd.sqlite'}", trusted_proxy=("127.0.0.1",), api_2012=api_2012
    )
    with served(build_discovery_app(settings)) as url:
        hidden = {"X-Forwarded-For": "198.51.100.7, unknown"}
        for path in ("/health", "/v1/account", *(["/account"] if api_2012 else [])):
            reply = ask(url, "GET", path, headers=hidden)
            assert reply.status_code == 400
            assert "X-Forwarded-For" in reply.text


def test_clients_behind_a_proxy_are_limited_one_by_one() -> None:
    town = build_town()
    app = discovery_app(town.service, town.bell, limits=limited(burst=1), client_address=ClientAddresses(["127.0.0.1"]))
    with served(app) as url:
        for client in ("198.51.100.1", "198.51.100.2"):
            statuses = [
                ask(url, "GET", "/health", token=f"{client}{number:030}", headers={"X-Forwarded-For": client})
                for number in range(11)
            ]
            assert [status.status_code for status in statuses] == [200] * 10 + [429]


# --- health ---------------------------------------------------------------------------------------------------------


def test_health_tells_of_the_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery_api, "HEALTH_TIMEOUT_S", 0.2)
    town, behaviour, release = build_town(), ["fine"], threading.Event()

    def check() -> None:
        if behaviour[0] == "broken":
            raise DiscoveryUnavailable("it is gone")
        if behaviour[0] == "slow":
            release.wait(10)

    with served(discovery_app(town.service, town.bell, check_storage=check)) as url:
        for behaviour[0], status in (("fine", 200), ("broken", 503), ("slow", 503), ("fine", 200)):
            response = ask(url, "GET", "/health")
            assert response.status_code == status
            assert response.json()["status" if status == 200 else "error"] in {"ok", "unavailable"}
        release.set()


def test_health_asks_the_database(tmp_path: Path) -> None:
    with served(build_discovery_app(DiscoverySettings(database=f"sqlite:///{tmp_path / 'd.sqlite'}"))) as url:
        assert ask(url, "GET", "/health").json() == {"status": "ok"}
        with closing(sqlite3.connect(tmp_path / "d.sqlite")) as thief:
            thief.execute("ALTER TABLE accounts RENAME TO gone")
        response = ask(url, "GET", "/health")
    assert (response.status_code, response.json()["error"]) == (503, "unavailable")


# --- metrics --------------------------------------------------------------------------------------------------------


def metrics_of(text: str) -> dict[str, float]:
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_metrics_count_and_name_nobody() -> None:
    clock, store = ManualClock(), MemoryStore()
    meter = PrometheusMeter(clock)
    clock.advance(100)
    town = build_town(workers=4, unit_of_work=meter.metered(store.unit_of_work, store.unit_of_work))
    task = town.buy_one()
    app = discovery_app(town.service, town.bell, limits=limited(), meter=meter, sweep_interval_s=0.01)
    with served(app) as url, served_metrics(meter, "127.0.0.1", 0) as port:
        for _ in range(4):
            ask(url, "POST", "/v1/account")
        ask(url, "GET", f"/v1/{TOKEN}", token=OTHER)
        for position in range(2):
            town.commit(task, position, "same")
        time.sleep(0.05)
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    numbers = metrics_of(text)
    assert numbers['ec262_requests_total{route="/v1/account",status="200"}'] == 3
    assert numbers['ec262_requests_total{route="(no such route)",status="429"}'] == 1
    assert numbers['ec262_requests_total{route="(no such route)",status="404"}'] == 1
    assert numbers['ec262_request_seconds_count{route="/v1/account"}'] == 3
    assert numbers["ec262_rate_limited_total"] == 1
    events = {event: numbers[f'ec262_tasks_total{{event="{event}"}}'] for event in ("bought", "won", "refunded")}
    assert events == {"bought": 1, "won": 1, "refunded": 0}
    holders = {holder: numbers[f'ec262_credits{{holder="{holder}"}}'] for holder in ("granted", "users", "escrow")}
    assert holders == {"granted": 12, "users": 11, "escrow": 1}
    assert (numbers["ec262_leases"], numbers["ec262_tasks_in_escrow"], numbers["ec262_storage_up"]) == (4, 1, 1)
    assert numbers["ec262_sweep_age_seconds"] == 0
    for secret in (TOKEN, task.task, *town.tokens):
        assert secret not in text


def test_metrics_of_a_storage_that_does_not_answer() -> None:
    clock = ManualClock()
    meter = PrometheusMeter(clock)
    clock.advance(100)
    assert collected(meter) == {"ec262_sweep_age_seconds": 100}
    meter.swept()

    def broken() -> Any:
        raise DiscoveryUnavailable("it is gone")

    meter.metered(broken, broken)
    assert collected(meter) == {"ec262_sweep_age_seconds": 0, "ec262_storage_up": 0}


def collected(meter: PrometheusMeter) -> Mapping[str, float]:
    return {sample.name: sample.value for family in meter.collect() for sample in family.samples}


def test_metrics_are_not_at_the_public_port() -> None:
    town = build_town()
    with served(discovery_app(town.service, town.bell, meter=PrometheusMeter())) as url:
        assert ask(url, "GET", "/metrics").status_code == 404


def test_a_taken_port_for_metrics_is_reported(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--port", "0", "--database", f"sqlite:///{tmp_path / 'd'}", "--metrics-port", str(port)]
        assert discovery.main(flags) == 2
    assert f"cannot serve metrics on 127.0.0.1 port {port}: Address already in use" in capsys.readouterr().err


def test_metrics_without_their_package_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'ec262\[metrics\]'"):
        PrometheusMeter()


def test_a_service_without_metrics_does_not_load_their_package() -> None:
    script = "import sys, ec262.entrypoints.discovery; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


# --- the process ----------------------------------------------------------------------------------------------------


def test_a_process_with_everything_switched_on(tmp_path: Path) -> None:
    """By a settings file, as an operator has it."""
    config = tmp_path / "discovery.toml"
    config.write_text(
        'grant = "none"\nseparate = ["owner", "block"]\nmax_open_tasks = 10\nmax_escrow = 20\nretention = 60.0\n'
        'trusted_proxy = ["127.0.0.1"]\nrate = 1.0\nburst = 2\nlog_format = "json"\nmetrics_port = 0\n'
    )
    with running_discovery(tmp_path, "-v", "--config", str(config)) as running:
        url = running.url
        assert ask(url, "POST", "/v1/account").json()["credits"] == 0
        with closing(sqlite3.connect(tmp_path / "discovery.sqlite")) as thief:
            thief.execute("ALTER TABLE accounts RENAME TO gone")
        forwarded = {"X-Forwarded-For": "198.51.100.7"}
        broken = ask(url, "POST", "/v1/account", headers=forwarded)
        assert [ask(url, "POST", "/v1/account").status_code for _ in range(2)] == [429, 429]
        log = [json.loads(line) for line in running.log().splitlines()]
        (metrics,) = re.findall(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", running.log())
        assert metrics_of(requests.get(metrics, timeout=10).text)["ec262_rate_limited_total"] == 2
        running.process.terminate()
        assert running.process.wait(10) == 0
    assert broken.status_code == 503
    of_request = [line for line in log if line.get("request_id") == broken.headers["X-Request-Id"]]
    assert [line["level"] for line in of_request] == ["WARNING", "INFO"]
    assert "Traceback" in of_request[0]["exception"]
    answer = of_request[1]
    assert (answer["method"], answer["path"], answer["status"]) == ("POST", "/v1/account", 503)
    assert answer["client"] == "198.51.100.7"
    assert answer["ms"] > 0
    assert TOKEN not in running.log()


def test_lines_of_threads_have_the_requests_id(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    town, seen = build_town(), []

    def note(_token: str, _command: object = None) -> None:
        from ec262.entrypoints.shared.logs import request_id

        seen.append((request_id.get(), threading.current_thread() is threading.main_thread()))
        raise DiscoveryUnavailable("not now")

    town.service.accounts.open = note  # type: ignore[method-assign,assignment] # a double
    with served(discovery_app(town.service, town.bell)) as url:
        ids = [ask(url, "POST", "/v1/account").headers["X-Request-Id"] for _ in range(3)]
    assert seen == [(request, False) for request in ids]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--grant", "much"], "bad setting"),
        (["--separate", "country"], "bad setting"),
        (["--trusted-proxy", "nowhere"], "nowhere"),
        (["--rate", "-1"], "bad setting"),
        (["--burst", "0"], "bad setting"),
        (["--max-escrow", "0"], "bad setting"),
        (["--metrics-port", "70000"], "bad setting"),
    ],
)
def test_bad_settings_are_reported(flags: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert discovery.main(flags) == 2
    assert text in capsys.readouterr().err


# --- the document ---------------------------------------------------------------------------------------------------

DOCUMENT = (Path(__file__).parents[2] / "docs/operations.md").read_text(encoding="utf-8")


def test_the_settings_file_in_the_document_is_the_defaults(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    file = tmp_path / "discovery.toml"
    file.write_text(text)
    assert load_settings(DiscoverySettings, {"config": str(file)}, {}) == DiscoverySettings()
    file.write_text(re.sub(r"^# (\w+ =)", r"\1", text, flags=re.MULTILINE))
    assert load_settings(DiscoverySettings, {"config": str(file)}, {}).metrics_port == 26263


def test_the_commands_in_the_document_exist(capsys: pytest.CaptureFixture[str]) -> None:
    commands = re.findall(r"(?<=\bec262 )(discovery-admin|account) (\w+)", DOCUMENT)
    assert {name for name, _ in commands} == {"discovery-admin", "account"}
    for name, subcommand in {*commands, *(("discovery-admin", name) for name in admin_command.COMMANDS)}:
        with pytest.raises(SystemExit) as ended:
            cli.main([name, subcommand, "--help"])
        assert ended.value.code == 0
        assert f"usage: ec262 {name} {subcommand}" in capsys.readouterr().out
    for subcommand in admin_command.COMMANDS:
        assert f"`{subcommand} " in DOCUMENT or f"`{subcommand}`" in DOCUMENT


def test_the_metrics_in_the_document_exist() -> None:
    meter = PrometheusMeter()
    meter.metered(MemoryStore().unit_of_work, MemoryStore().unit_of_work)
    known = {family.name for family in meter.registry.collect()}
    told = {name.removesuffix("_total") for name in re.findall(r"`(ec262_\w+)(?:\{[^`]*\})?`", DOCUMENT)}
    assert told == known
