"""The discovery service over HTTP, as foremen and workers use it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar, overload
from urllib.parse import urlsplit

import attrs
import msgspec
import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from ec262.adapters.machine.system_entropy import SystemEntropy
from ec262.domain import errors
from ec262.domain.pauses import growing
from ec262.domain.ports.clock import Entropy
from ec262.domain.protocol.account_calls import AccountStatus, History, HistoryQuery, OpenAccount, ReplaceToken
from ec262.domain.protocol.foreman_calls import (
    AcceptResults,
    AddReplicas,
    BuyDisputes,
    BuyTasks,
    DeliveryReports,
    PoolQuery,
    PoolStatus,
    Purchase,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.protocol.worker_calls import (
    AssignmentQuery,
    Assignments,
    CommitmentsTaken,
    CommitResults,
    GivenUp,
    GiveUp,
    Lease,
    RegisterWorker,
)
from ec262.domain.terminal import one_line

MAX_REPLY_BYTES = 16 << 20
"""A purchase of 1,000 tasks with 15 replicas each is 5 MB."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 30.0
"""For a whole reply, however slowly its bytes drip."""

logger = logging.getLogger(__name__)

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0

SILENT_S = 5.0
"""How long a call is tried again before the log says so."""
MAX_RETRY_AFTER_S = 60.0
MAX_MESSAGE_CHARS = 1000

T = TypeVar("T")


class _TryAgain(errors.DiscoveryUnavailable):
    """No answer this time; another attempt may have one, after ``pause_s`` at least."""

    def __init__(self, message: str, *, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.pause_s = pause_s


@attrs.frozen(kw_only=True)
class _Refusal:
    """The body of a reply that says no."""

    error: str
    message: str
    have: int = 0
    need: int = 0


class HttpDiscovery:
    """The AccountDiscovery, ForemanDiscovery and WorkerDiscovery ports. Calls may overlap; each runs in a thread.

    A call that gets no answer, or a status of 500 or more, or 429, is repeated for up to ``patience_s`` seconds: the
    service takes every call twice without harm. ``url`` is where the service listens, without ``/v1``; the bearer
    ``token`` goes nowhere else: redirects are not followed, proxies and .netrc are not asked.
    """

    def __init__(
        self, url: str, *, token: str, patience_s: float = 60.0, ca: str | None = None, entropy: Entropy | None = None
    ) -> None:
        """Does not connect yet. ``ca`` is a file of certificates to trust instead of the usual authorities (PEM);
        ``entropy`` (the system's unless given) scatters the pauses between two attempts.
        Raises ConfigurationError if the URL is not an http or https one, or there is no such file."""
        if ca is not None and not Path(ca).is_file():
            raise errors.ConfigurationError(f"there is no certificate file {ca}")
        self._url = _checked(url)
        self._location = _escaped(self._url)
        self._token = token
        self._patience_s = patience_s
        self._entropy = entropy or SystemEntropy()
        self._trusted: bool | str = ca or True
        self._idle: deque[HTTPAdapter] = deque()

    # --- accounts ---------------------------------------------------------------------------------------------------

    async def open_account(self, invitation: str | None = None) -> AccountStatus:
        """Open the account of this client's token, or find it again."""
        return await self._call("POST", "/v1/account", body=OpenAccount(invitation=invitation), reply=AccountStatus)

    async def account(self) -> AccountStatus:
        """Tell how the account stands."""
        return await self._call("GET", "/v1/account", reply=AccountStatus)

    async def history(self, query: HistoryQuery) -> History:
        """Tell the account's movements."""
        history = await self._call("POST", "/v1/history", body=query, reply=History)
        entries = tuple(attrs.evolve(entry, text=one_line(entry.text)) for entry in history.entries)
        return attrs.evolve(history, entries=entries)

    async def replace_token(self, token: str) -> None:
        """Let another token open the account, and this client's no more."""
        await self._call("PUT", "/v1/account/token", body=ReplaceToken(token=token))

    async def close_account(self) -> None:
        """Revoke this client's token."""
        await self._call("DELETE", "/v1/account")

    # --- foremen ----------------------------------------------------------------------------------------------------

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        status = await self._call("POST", "/v1/pool", body=query, reply=PoolStatus)
        return attrs.evolve(status, explanation=one_line(status.explanation))

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks."""
        return await self._purchase("/v1/purchases", command)

    async def add_replicas(self, command: AddReplicas) -> Purchase:
        """Add workers to open tasks."""
        return await self._purchase("/v1/replicas", command)

    async def _purchase(self, path: str, command: BuyTasks | AddReplicas) -> Purchase:
        purchase = await self._call("POST", path, body=command, reply=Purchase)
        return attrs.evolve(purchase, shortfall=one_line(purchase.shortfall))

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Tell the state of tasks that this account bought, when one is decided or ``wait_s`` are over."""
        return await self._call("POST", "/v1/verdicts", body=query, reply=Verdicts, wait_s=query.wait_s)

    async def accept(self, command: AcceptResults) -> Verdicts:
        """Let provisional wins be wins."""
        return await self._call("POST", "/v1/acceptances", body=command, reply=Verdicts)

    async def dispute(self, command: BuyDisputes) -> Verdicts:
        """Pay all who committed to tasks that none won."""
        return await self._call("POST", "/v1/disputes", body=command, reply=Verdicts)

    async def report(self, command: DeliveryReports) -> None:
        """Tell of winners that did not deliver."""
        await self._call("POST", "/v1/reports", body=command)

    # --- workers ----------------------------------------------------------------------------------------------------

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease."""
        return await self._call("PUT", "/v1/worker", body=command, reply=Lease)

    async def leave(self) -> None:
        """Leave the pool."""
        await self._call("DELETE", "/v1/worker")

    async def assignments(self, query: AssignmentQuery) -> Assignments:
        """Tell the replicas assigned to this worker."""
        return await self._call("POST", "/v1/assignments", body=query, reply=Assignments)

    async def commit(self, command: CommitResults) -> CommitmentsTaken:
        """Commit results."""
        return await self._call("POST", "/v1/commitments", body=command, reply=CommitmentsTaken)

    async def give_up(self, command: GiveUp) -> GivenUp:
        """Tell that no results will be committed."""
        return await self._call("POST", "/v1/surrenders", body=command, reply=GivenUp)

    # --- inside -----------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Close idle connections. May be called twice."""
        while self._idle:
            self._idle.pop().close()

    @overload
    async def _call(self, method: str, path: str, *, body: object = None, reply: type[T], wait_s: float = 0.0) -> T: ...
    @overload
    async def _call(self, method: str, path: str, *, body: object = None) -> None: ...
    async def _call(
        self, method: str, path: str, *, body: object = None, reply: type[T] | None = None, wait_s: float = 0.0
    ) -> T | None:
        deadline = time.monotonic() + self._patience_s + wait_s
        pauses = growing(FIRST_PAUSE_S, LONGEST_PAUSE_S, self._entropy)
        told = False
        while True:
            try:
                content = await self._in_thread(method, path, body, wait_s)
            except _TryAgain as error:
                pause_s, left_s = error.pause_s + next(pauses), deadline - time.monotonic()
                if pause_s > left_s:
                    raise errors.DiscoveryUnavailable(str(error)) from error
                if not told and self._patience_s - left_s > SILENT_S:
                    logger.warning("%s; trying again for %.0f s", error, left_s)
                    told = True
            else:
                return None if reply is None else self._decoded(content, reply)
            await asyncio.sleep(pause_s)

    async def _in_thread(self, method: str, path: str, body: object, wait_s: float) -> bytes:
        """Make one attempt. A call that the service may hold back has a thread that nobody waits for: not the loop when
        it closes, nor the interpreter when it ends."""
        if wait_s == 0:
            return await asyncio.to_thread(self._attempt, method, path, body, READ_TIMEOUT_S)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bytes] = loop.create_future()

        def attempt() -> None:
            try:
                content, error = self._attempt(method, path, body, READ_TIMEOUT_S + wait_s), None
            except Exception as caught:  # noqa: BLE001 - raised again where it is waited for
                content, error = b"", caught
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(settle, content, error)

        def settle(content: bytes, error: Exception | None) -> None:
            if answer.cancelled():
                return
            if error is None:
                answer.set_result(content)
            else:
                answer.set_exception(error)

        threading.Thread(target=attempt, daemon=True).start()
        return await answer

    def _attempt(self, method: str, path: str, body: object, read_timeout_s: float) -> bytes:
        request = self._request(method, path, body)
        times = (CONNECT_TIMEOUT_S, read_timeout_s)
        try:
            with (
                self._connection() as connection,
                connection.send(request, stream=True, timeout=times, verify=self._trusted) as response,
            ):
                status, received = response.status_code, self._received(response)
        except requests.exceptions.SSLError as error:
            raise errors.DiscoveryUnavailable(f"no secure connection to discovery at {self._url}: {error}") from error
        except requests.Timeout as error:
            raise _TryAgain(f"discovery at {self._url} does not answer in time") from error
        except requests.RequestException as error:
            raise _TryAgain(f"no connection to discovery at {self._url}") from error
        if status >= 500:  # noqa: PLR2004 - HTTP's server errors
            raise _TryAgain(f"discovery at {self._url} fails (HTTP status {status})")
        if status == 429:  # noqa: PLR2004 - HTTP's "too many requests"
            raise _TryAgain(f"discovery at {self._url} accepts no more calls for now", pause_s=_retry_after_s(response))
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's success
            raise self._refusal(status, received)
        return received

    def _request(self, method: str, path: str, body: object) -> requests.PreparedRequest:
        """Return what a session would make of it, which first looks for cookies, hooks, proxies and .netrc, and escapes
        the URL anew: a fifth of a call's processor time."""
        request = requests.PreparedRequest()
        request.method, request.url = method, self._location + path
        request.headers = CaseInsensitiveDict(Authorization=f"Bearer {self._token}", Accept="application/json")
        if body is not None:
            request.body = msgspec.json.encode(body)
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(request.body))
        return request

    def _received(self, response: requests.Response) -> bytes:
        deadline = time.monotonic() + REPLY_TIMEOUT_S
        content = bytearray()
        for chunk in response.iter_content(64 << 10):
            content += chunk
            if len(content) > MAX_REPLY_BYTES:
                raise errors.DiscoveryUnavailable(f"discovery at {self._url} sends more than {MAX_REPLY_BYTES} bytes")
            if time.monotonic() > deadline:
                raise _TryAgain(f"discovery at {self._url} does not answer in time")
        return bytes(content)

    def _decoded(self, content: bytes, reply: type[T]) -> T:
        try:
            return msgspec.json.decode(content, type=reply)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise self._stranger() from error

    def _refusal(self, status: int, content: bytes) -> errors.DiscoveryError:
        try:
            refusal = msgspec.json.decode(content, type=_Refusal)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return self._stranger(status)
        if refusal.error == errors.PurchaseTooExpensive.code:
            return errors.PurchaseTooExpensive(have=refusal.have, need=refusal.need)
        return errors.refusal(refusal.error, one_line(refusal.message[:MAX_MESSAGE_CHARS]))

    def _stranger(self, status: int = 200) -> errors.DiscoveryUnavailable:
        return errors.DiscoveryUnavailable(
            f"what answers at {self._url} is not an ec262 discovery service (HTTP status {status})"
        )

    @contextmanager
    def _connection(self) -> Iterator[HTTPAdapter]:
        """Lend a connection to one thread at a time, which keeps it open. One that failed is not used again."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = HTTPAdapter()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)


def _retry_after_s(response: requests.Response) -> float:
    """Return what the service asks for, in seconds, within reason."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), MAX_RETRY_AFTER_S) if text.isascii() and text.isdecimal() else 1.0


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise errors.ConfigurationError(f"the discovery service's URL is malformed: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        raise errors.ConfigurationError(
            f"the discovery service's URL must read like http://host:26262, not {parts.scheme}:{parts.path}"
            if "@" in url
            else f"the discovery service's URL must read like http://host:26262, not {url}"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise errors.ConfigurationError("the discovery service's URL must not have a user, a query or a fragment")
    return url.rstrip("/")


def _escaped(url: str) -> str:
    """Return a URL as it goes over the wire. Raises ConfigurationError."""
    request = requests.PreparedRequest()
    try:
        request.prepare_url(url, None)
    except requests.RequestException as error:
        raise errors.ConfigurationError(f"the discovery service's URL is malformed: {error}") from error
    return (request.url or url).rstrip("/")
