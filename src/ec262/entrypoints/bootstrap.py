"""The composition root: the only module that knows both services and adapters.

Every function builds one role's objects with explicit constructors; whatever is passed in is used in place of the
default adapter. Imports are local so that a role loads only what it needs: a worker never imports the database driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ec262.entrypoints.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ec262.adapters.http_discovery import HttpDiscovery
    from ec262.domain.ports.cipher import Cipher
    from ec262.domain.ports.clock import Clock, Entropy
    from ec262.domain.ports.discovery import ForemanDiscovery, WorkerDiscovery
    from ec262.domain.ports.prober import Prober
    from ec262.domain.ports.progress import Progress
    from ec262.domain.ports.result_store import ResultStore
    from ec262.domain.ports.sandbox import Sandbox
    from ec262.domain.ports.transport import Dialer, Listener
    from ec262.domain.ports.unit_of_work import UnitOfWorkFactory
    from ec262.services.discovery import DiscoveryService
    from ec262.services.foreman import Foreman
    from ec262.services.worker import Worker


def build_foreman(
    settings: Settings,
    *,
    token: str | None = None,
    quiet: bool = False,
    discovery: ForemanDiscovery | None = None,
    dialer: Dialer | None = None,
    cipher: Cipher | None = None,
    progress: Progress | None = None,
) -> Foreman:
    """Build a foreman for ``settings.discovery``; without a ``token`` it uses the account of this user."""
    import time

    from ec262 import __version__
    from ec262.adapters.ciphers import AesSivCipher
    from ec262.adapters.entropy import SystemEntropy
    from ec262.adapters.progress import choose_progress
    from ec262.adapters.tcp.dialer import TcpDialer
    from ec262.domain.commands import MAX_DEADLINE_S
    from ec262.domain.job import Limits
    from ec262.domain.job_run import RunPolicy
    from ec262.domain.verification import parse_rule
    from ec262.services.foreman import Foreman
    from ec262.services.job_execution import ForemanPolicy, ForemanPorts
    from ec262.services.worker_link import LinkPolicy

    ports = ForemanPorts(
        discovery=discovery or build_discovery_client(settings, role="foreman", token=token),
        dialer=dialer or TcpDialer(),
        cipher=cipher or AesSivCipher(),
        clock=time.monotonic,
        entropy=SystemEntropy(),
        progress=progress or choose_progress(quiet=quiet, clock=time.monotonic),
    )
    policy = ForemanPolicy(
        run=RunPolicy(rule=parse_rule(settings.verify), attempts=settings.attempts, patience_s=settings.patience),
        link=LinkPolicy(release=__version__),
        limits=Limits(
            cpu_s=settings.task_timeout, wall_s=settings.task_timeout, memory_bytes=settings.task_memory << 20
        ),
        # Longer than the task's own limit, so that a task that runs out of time is told as such by its workers.
        deadline_s=min(MAX_DEADLINE_S, settings.task_timeout * 1.5 + 30),
    )
    return Foreman(ports, policy)


def build_discovery_client(
    settings: Settings, *, role: str, token: str | None = None, patience_s: float | None = None
) -> HttpDiscovery:
    """Build a client of ``settings.discovery``; without a ``token`` it uses, or makes, the one on disk for this role.
    ``patience_s`` goes before the settings'.

    Raises ConfigurationError if there is no discovery service in the settings.
    """
    import platformdirs

    from ec262.adapters.credentials import load_or_create_token
    from ec262.adapters.http_discovery import HttpDiscovery
    from ec262.domain.errors import ConfigurationError

    if settings.discovery is None:
        raise ConfigurationError("no discovery service is configured: give --discovery URL")
    if token is None:
        folder = Path(settings.credentials or platformdirs.user_state_dir("ec262"))
        token = load_or_create_token(folder, settings.discovery, role)
    return HttpDiscovery(
        settings.discovery, token=token, patience_s=settings.patience if patience_s is None else patience_s
    )


def build_worker_discovery(settings: Settings, *, token: str | None = None) -> HttpDiscovery:
    """Build a worker's client of ``settings.discovery``. Without a ``token``, a worker with a port of its own has an
    account of its own on disk; one on any free port has an account for this run only, as nothing tells such workers
    apart."""
    import secrets

    if token is None and settings.port == 0:
        token = secrets.token_urlsafe(32)
    # A call is one attempt: the worker's services have their own patience, told by deadlines and leases.
    return build_discovery_client(settings, role=f"worker-{settings.port}", token=token, patience_s=0)


def build_worker(
    settings: Settings,
    *,
    token: str | None = None,
    discovery: WorkerDiscovery | None = None,
    listener: Listener | None = None,
    sandbox: Sandbox | None = None,
    cipher: Cipher | None = None,
    results: ResultStore | None = None,
) -> Worker:
    """Build a worker for ``settings.discovery`` (see ``build_worker_discovery`` for ``token``). Nothing is started."""
    import time

    from ec262 import __version__
    from ec262.adapters.ciphers import AesSivCipher
    from ec262.adapters.file_result_store import FileResultStore
    from ec262.adapters.runtime import runtime_class
    from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox
    from ec262.adapters.tcp.listener import TcpListener
    from ec262.services.computer import WorkerPorts
    from ec262.services.worker import Worker
    from ec262.services.worker_policy import WorkerPolicy

    ports = WorkerPorts(
        discovery=discovery or build_worker_discovery(settings, token=token),
        sandbox=sandbox or LinuxSandbox(settings.allow),
        cipher=cipher or AesSivCipher(),
        results=results or FileResultStore(capacity_bytes=settings.results_limit_mib << 20),
        clock=time.monotonic,
    )
    policy = WorkerPolicy(
        release=__version__,
        runtime=runtime_class(ports.sandbox.name),
        host=settings.advertise,
        packages=settings.allow,
        slots=settings.slots,
        limits=settings.limits,
        lease_s=settings.lease,
    )
    return Worker(ports, listener or TcpListener(settings.listen, settings.port), policy)


def build_discovery_service(
    *,
    unit_of_work: UnitOfWorkFactory,
    grant: int,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    prober: Prober | None = None,
) -> DiscoveryService:
    """Build the discovery service over a storage; ``grant`` is the credits that a new account starts with."""
    import time

    from ec262.adapters.entropy import SystemEntropy
    from ec262.adapters.prober import TlsProber
    from ec262.services.discovery import DiscoveryService, Policy

    return DiscoveryService(
        unit_of_work=unit_of_work,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
        prober=prober or TlsProber(),
        policy=Policy(grant=grant),
    )


def build_discovery_app(
    settings: Settings, *, accounts: Mapping[str, int] | None = None, prober: Prober | None = None
) -> Starlette:
    """Build the discovery service's application over ``settings.database``. ``accounts`` (token to credits) are opened
    before anybody can ask. Raises ConfigurationError if the database cannot be opened, LedgerError if its books do not
    balance."""
    import platformdirs

    from ec262.adapters.sql.unit_of_work import SqlDatabase
    from ec262.entrypoints.discovery_api import discovery_app

    url = settings.database
    if url is None:
        folder = Path(platformdirs.user_data_dir("ec262"))
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        url = f"sqlite:///{folder / 'discovery.sqlite'}"
    database = SqlDatabase(url)
    service = build_discovery_service(unit_of_work=database.unit_of_work, grant=settings.grant, prober=prober)
    try:
        service.audit()
        for token, credits in (accounts or {}).items():
            service.grant_account(token, credits)
    except BaseException:
        database.close()
        raise
    return discovery_app(service, on_shutdown=database.close)
