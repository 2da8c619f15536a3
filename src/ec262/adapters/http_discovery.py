"""The discovery service over HTTP, as foremen and workers use it."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar, overload
from urllib.parse import quote, urlsplit

import attrs
import msgspec
import requests

from ec262.domain import errors
from ec262.domain.commands import (
    AccountStatus,
    Assignment,
    BuyTasks,
    CommitResult,
    Lease,
    PoolQuery,
    PoolStatus,
    Purchase,
    RegisterWorker,
    VerdictQuery,
    Verdicts,
)
from ec262.domain.messages import printable

MAX_REPLY_BYTES = 16 << 20
"""A purchase of 1,000 tasks with 15 replicas each is 5 MB."""

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
REPLY_TIMEOUT_S = 30.0
"""For a whole reply, however slowly its bytes drip."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
MAX_MESSAGE_CHARS = 1000

T = TypeVar("T")

_REFUSALS = {
    refusal.code: refusal
    for refusal in (
        errors.InvalidRequest,
        errors.NotAuthenticated,
        errors.UnknownTask,
        errors.PurchaseConflict,
        errors.CommitmentConflict,
        errors.TaskClosed,
        errors.AddressUnreachable,
        errors.LimitReached,
    )
}


class _TryAgain(errors.DiscoveryUnavailable):
    """No answer this time; another attempt may have one."""


@attrs.frozen(kw_only=True)
class _Refusal:
    """The body of a reply that says no."""

    error: str
    message: str
    have: int = 0
    need: int = 0


class HttpDiscovery:
    """The ForemanDiscovery and WorkerDiscovery ports. Calls may overlap; each runs in a thread.

    A call that gets no answer, or a status of 500 or more, is repeated for up to ``patience_s`` seconds: the service
    takes every call twice without harm. ``url`` is where the service listens, without ``/v1``; the bearer ``token``
    goes nowhere else: redirects are not followed, proxies and .netrc are not asked.
    """

    def __init__(self, url: str, *, token: str, patience_s: float = 60.0) -> None:
        """Connects to nobody yet. Raises ConfigurationError if the URL is not an http or https one."""
        self._url = _checked(url)
        self._token = token
        self._patience_s = patience_s
        self._idle: deque[requests.Session] = deque()

    async def open_account(self) -> AccountStatus:
        """Open the account of this client's token, or find it again."""
        return await self._call("POST", "/v1/account", reply=AccountStatus)

    async def pool(self, query: PoolQuery) -> PoolStatus:
        """Tell who could be drawn now."""
        status = await self._call("POST", "/v1/pool", body=query, reply=PoolStatus)
        return attrs.evolve(status, explanation=printable(status.explanation))

    async def buy(self, command: BuyTasks) -> Purchase:
        """Buy tasks."""
        purchase = await self._call("POST", "/v1/purchases", body=command, reply=Purchase)
        return attrs.evolve(purchase, shortfall=printable(purchase.shortfall))

    async def verdicts(self, query: VerdictQuery) -> Verdicts:
        """Tell the state of tasks that this account bought."""
        return await self._call("POST", "/v1/verdicts", body=query, reply=Verdicts)

    async def register(self, command: RegisterWorker) -> Lease:
        """Join the pool or renew the lease."""
        return await self._call("PUT", "/v1/worker", body=command, reply=Lease)

    async def leave(self) -> None:
        """Leave the pool."""
        await self._call("DELETE", "/v1/worker")

    async def assignment(self, task: str) -> Assignment:
        """Tell a replica assigned to this worker."""
        return await self._call("GET", f"/v1/assignments/{quote(task, safe='')}", reply=Assignment)

    async def commit(self, command: CommitResult) -> None:
        """Commit a result."""
        await self._call("POST", "/v1/commitments", body=command)

    async def give_up(self, task: str) -> None:
        """Tell that no result will be committed."""
        await self._call("DELETE", f"/v1/assignments/{quote(task, safe='')}")

    async def close(self) -> None:
        """Close idle connections. May be called twice."""
        while self._idle:
            self._idle.pop().close()

    @overload
    async def _call(self, method: str, path: str, *, body: object = None, reply: type[T]) -> T: ...
    @overload
    async def _call(self, method: str, path: str, *, body: object = None) -> None: ...
    async def _call(self, method: str, path: str, *, body: object = None, reply: type[T] | None = None) -> T | None:
        deadline = time.monotonic() + self._patience_s
        pause = FIRST_PAUSE_S
        while True:
            try:
                content = await asyncio.to_thread(self._attempt, method, path, body)
            except _TryAgain as error:
                if time.monotonic() + pause > deadline:
                    raise errors.DiscoveryUnavailable(str(error)) from error
            else:
                return None if reply is None else self._decoded(content, reply)
            await asyncio.sleep(pause)
            pause = min(LONGEST_PAUSE_S, pause * 2)

    def _attempt(self, method: str, path: str, body: object) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        try:
            with (
                self._session() as session,
                session.request(
                    method,
                    self._url + path,
                    data=content,
                    headers=headers,
                    timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                    allow_redirects=False,
                    stream=True,
                ) as response,
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
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's success
            raise self._refusal(status, received)
        return received

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
        return _REFUSALS.get(refusal.error, errors.DiscoveryRefused)(printable(refusal.message[:MAX_MESSAGE_CHARS]))

    def _stranger(self, status: int = 200) -> errors.DiscoveryUnavailable:
        return errors.DiscoveryUnavailable(
            f"what answers at {self._url} is not an ec262 discovery service (HTTP status {status})"
        )

    @contextmanager
    def _session(self) -> Iterator[requests.Session]:
        """Lend a session to one thread at a time: they are not made to be shared. One that failed is not used again."""
        try:
            session = self._idle.pop()
        except IndexError:
            session = requests.Session()
            session.trust_env = False
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._idle.append(session)


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
