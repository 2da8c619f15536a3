"""The composition root: the only module that knows both services and adapters.

Every function builds one role's objects with explicit constructors; whatever is passed in is used in place of the
default adapter. Imports are local so that a role loads only what it needs: a worker never imports the database driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ec262.entrypoints.settings import Settings

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ec262.adapters.http_discovery import HttpDiscovery
    from ec262.adapters.sql.unit_of_work import SqlDatabase
    from ec262.domain.ports.cipher import Cipher
    from ec262.domain.ports.clock import Clock, Entropy
    from ec262.domain.ports.discovery import ForemanDiscovery, WorkerDiscovery
    from ec262.domain.ports.prober import Prober
    from ec262.domain.ports.progress import Progress
    from ec262.domain.ports.result_store import ResultStore
    from ec262.domain.ports.sandbox import Sandbox
    from ec262.domain.ports.spill import Spills
    from ec262.domain.ports.surroundings import Surroundings
    from ec262.domain.ports.transport import Dialer, Listener
    from ec262.domain.ports.unit_of_work import UnitOfWorkFactory
    from ec262.domain.simulation.population import Scenario
    from ec262.domain.verification_plan import VerificationPlan
    from ec262.entrypoints.metrics import Meter
    from ec262.services.discovery import DiscoveryService
    from ec262.services.discovery_2012 import Discovery2012
    from ec262.services.discovery_admin import DiscoveryAdmin
    from ec262.services.discovery_policy import Policy
    from ec262.services.discovery_transactions import OnDecided
    from ec262.services.foreman import Foreman
    from ec262.services.simulation import SimulatedForeman
    from ec262.services.worker import Worker


def build_foreman(
    settings: Settings,
    *,
    token: str | None = None,
    quiet: bool = False,
    verify: VerificationPlan | None = None,
    one_word: bool = False,
    slots: int | None = None,
    discovery: ForemanDiscovery | None = None,
    dialer: Dialer | None = None,
    cipher: Cipher | None = None,
    progress: Progress | None = None,
    spills: Spills | None = None,
) -> Foreman:
    """Build a foreman for ``settings.discovery``; without a ``token`` it uses the account of this user. ``verify`` goes
    before the settings'; ``one_word`` allows rules by which any single worker decides; ``slots`` is the most that jobs
    are planned for, where the pool's slots share fewer processors."""
    import time

    from ec262 import __version__
    from ec262.adapters.ciphers import AesSivCipher
    from ec262.adapters.entropy import SystemEntropy
    from ec262.adapters.file_spill import FileSpill
    from ec262.adapters.progress import choose_progress
    from ec262.adapters.tcp.dialer import TcpDialer
    from ec262.domain.commands import MAX_DEADLINE_S
    from ec262.domain.job_policy import RunPolicy
    from ec262.services.foreman import Foreman
    from ec262.services.job_execution import ForemanPolicy, ForemanPorts
    from ec262.services.worker_link import LinkPolicy

    ports = ForemanPorts(
        discovery=discovery or build_discovery_client(settings, role=settings.role, token=token),
        dialer=dialer or TcpDialer(),
        cipher=cipher or AesSivCipher(),
        clock=time.monotonic,
        entropy=SystemEntropy(),
        progress=progress or choose_progress(quiet=quiet, clock=time.monotonic),
        spills=spills or FileSpill,
    )
    policy = ForemanPolicy(
        run=RunPolicy(
            rule=verify or settings.verify,
            one_word=one_word,
            attempts=settings.attempts,
            patience_s=settings.patience,
        ),
        link=LinkPolicy(release=__version__),
        limits=settings.task_limits,
        # Longer than the task's own limit, so that a task that runs out of time is told as such by its workers.
        deadline_s=min(MAX_DEADLINE_S, settings.task_timeout * 1.5 + 30),
        memory=settings.memory_budget,
        invitation=settings.invitation,
        slots=slots,
    )
    return Foreman(ports, policy)


def build_discovery_client(
    settings: Settings, *, role: str, token: str | None = None, patience_s: float | None = None
) -> HttpDiscovery:
    """Build a client of ``settings.discovery``; without a ``token`` it uses, or makes, the one on disk for this role.
    ``patience_s`` goes before the settings'.

    Raises ConfigurationError if there is no discovery service in the settings, or what they name cannot be used.
    """
    from ec262.adapters.credentials import load_or_create_token
    from ec262.adapters.http_discovery import HttpDiscovery
    from ec262.domain.errors import ConfigurationError

    if settings.discovery is None:
        raise ConfigurationError("no discovery service is configured: give --discovery URL")
    if settings.discovery_ca is not None:
        _require_certificates(settings.discovery_ca)
    if token is None:
        token = load_or_create_token(credentials_folder(settings), settings.discovery, role)
    return HttpDiscovery(
        settings.discovery,
        token=token,
        patience_s=settings.patience if patience_s is None else patience_s,
        ca=settings.discovery_ca,
    )


def _require_certificates(path: str) -> None:
    """Find out now what every call would stumble over."""
    import ssl

    from ec262.domain.errors import ConfigurationError

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(f"cannot use the certificates in {path}: {error.strerror or error}") from error


def credentials_folder(settings: Settings) -> Path:
    """Return the folder of account tokens."""
    import platformdirs

    return Path(settings.credentials or platformdirs.user_state_dir("ec262"))


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
    surroundings: Surroundings | None = None,
) -> Worker:
    """Build a worker for ``settings.discovery`` (see ``build_worker_discovery`` for ``token``). Nothing is started."""
    import time

    from ec262 import __version__
    from ec262.adapters.ciphers import AesSivCipher
    from ec262.adapters.file_result_store import FileResultStore
    from ec262.adapters.surroundings import LocalSurroundings
    from ec262.adapters.tcp.listener import TcpListener
    from ec262.services.computer import WorkerPorts
    from ec262.services.worker import Worker
    from ec262.services.worker_policy import WorkerPolicy

    ports = WorkerPorts(
        discovery=discovery or build_worker_discovery(settings, token=token),
        sandbox=sandbox or build_sandbox(settings),
        cipher=cipher or AesSivCipher(),
        results=results or FileResultStore(capacity_bytes=settings.results_limit_mib << 20),
        surroundings=surroundings or LocalSurroundings(idleness=settings.when_idle),
        clock=time.monotonic,
    )
    policy = WorkerPolicy(
        release=__version__,
        runtime=ports.sandbox.runtime,
        host=settings.advertise,
        packages=settings.allow,
        slots=settings.slots,
        ahead=settings.ahead,
        limits=settings.limits,
        availability=settings.availability,
        invitation=settings.invitation,
        lease_s=settings.lease,
    )
    return Worker(ports, listener or TcpListener(settings.listen, settings.port), policy)


def build_sandbox(settings: Settings) -> Sandbox:
    """Build the sandbox that ``settings.sandbox`` names. Nothing is started. Raises SandboxUnavailable if what it needs
    is not installed."""
    match settings.sandbox:
        case "linux":
            from ec262.adapters.sandbox.linux.sandbox import LinuxSandbox

            return LinuxSandbox(settings.allow, nice=settings.nice)
        case "wasm":
            from ec262.adapters.sandbox.wasm.sandbox import WasmSandbox

            return WasmSandbox(settings.allow, nice=settings.nice)
        case _:
            from ec262.adapters.sandbox.in_process import UnconfinedSandbox

            return UnconfinedSandbox()


def build_discovery_service(
    *,
    unit_of_work: UnitOfWorkFactory,
    policy: Policy | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    prober: Prober | None = None,
    on_decided: OnDecided = lambda _tasks: None,
) -> DiscoveryService:
    """Build the discovery service over a storage."""
    import time

    from ec262.adapters.entropy import SystemEntropy
    from ec262.adapters.prober import TlsProber
    from ec262.services.discovery import DiscoveryService

    return DiscoveryService(
        unit_of_work=unit_of_work,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
        prober=prober or TlsProber(),
        policy=policy,
        on_decided=on_decided,
    )


def discovery_policy(settings: Settings) -> Policy:
    """Say what the settings make the operator's policy."""
    from ec262.domain.pool import Tie
    from ec262.services.discovery_policy import Policy

    return Policy(
        grant=settings.grant if isinstance(settings.grant, int) else 0,
        invitations=settings.grant != "none",
        retention_s=settings.retention,
        max_open_tasks=settings.max_open_tasks,
        max_escrow=settings.max_escrow,
        audit_rate=settings.audit_rate,
        apart=frozenset(map(Tie, settings.separate)),
    )


def open_database(settings: Settings, *, lasting: bool = True) -> SqlDatabase:
    """Open ``settings.database``, or the one of this user; one that is not ``lasting`` may be broken after a power
    failure. Raises ConfigurationError."""
    from ec262.adapters.sql.unit_of_work import SqlDatabase

    return SqlDatabase(database_url(settings), lasting=lasting)


def database_url(settings: Settings) -> str:
    """Return ``settings.database``, or a file in the user's own folder, which is made."""
    import platformdirs

    if settings.database is not None:
        return settings.database
    folder = Path(platformdirs.user_data_dir("ec262"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'discovery.sqlite'}"


def build_discovery_admin(
    *,
    unit_of_work: UnitOfWorkFactory,
    snapshot: UnitOfWorkFactory,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> DiscoveryAdmin:
    """Build what the operator does to a discovery service, directly over its storage."""
    import time

    from ec262.adapters.entropy import SystemEntropy
    from ec262.services.discovery_admin import DiscoveryAdmin

    return DiscoveryAdmin(
        unit_of_work=unit_of_work,
        snapshot=snapshot,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
    )


def build_discovery_app(
    settings: Settings,
    *,
    accounts: Mapping[str, int] | None = None,
    lasting: bool = True,
    prober: Prober | None = None,
    meter: Meter | None = None,
) -> Starlette:
    """Build the discovery service's application over ``settings.database``, see ``open_database`` for ``lasting``.

    ``accounts`` (token to credits) are opened before anybody can ask. Raises ConfigurationError if the database cannot
    be opened, LedgerError if its books do not balance.
    """
    import time

    from ec262.entrypoints.client_address import ClientAddresses
    from ec262.entrypoints.discovery_api import discovery_app
    from ec262.entrypoints.discovery_bell import Bell
    from ec262.entrypoints.metrics import Meter
    from ec262.entrypoints.rates import rate_limits

    meter = meter or Meter()
    database = open_database(settings, lasting=lasting)
    bell = Bell()
    service = build_discovery_service(
        unit_of_work=meter.metered(database.unit_of_work),
        policy=discovery_policy(settings),
        prober=prober,
        on_decided=bell.ring,
    )
    service_2012 = build_discovery_2012(settings, database) if settings.api_2012 else None
    try:
        service.audit()
        if service_2012 is not None:
            service_2012.audit()
        for token, credits in (accounts or {}).items():
            service.accounts.open_with_grant(token, credits)
    except BaseException:
        database.close()
        raise
    client_address = ClientAddresses(settings.trusted_proxy)
    limits = rate_limits(settings, time.monotonic)
    app = discovery_app(
        service,
        bell,
        on_shutdown=database.close,
        check_storage=partial(_ping, database.unit_of_work),
        client_address=client_address,
        limits=limits,
        meter=meter,
        more_sweeps=[] if service_2012 is None else [service_2012.sweep],
    )
    if service_2012 is not None:
        from ec262.entrypoints.discovery_2012 import app_2012, put_beside

        put_beside(app, app_2012(service_2012, client_address=client_address, limits=limits, meter=meter))
    return app


def build_discovery_2012(
    settings: Settings, database: SqlDatabase, *, clock: Clock | None = None, entropy: Entropy | None = None
) -> Discovery2012:
    """Build the service of the 2012 API over its tables in discovery's database."""
    import time

    from ec262.adapters.entropy import SystemEntropy
    from ec262.adapters.sql.unit_of_work_2012 import Sql2012
    from ec262.services.discovery_2012 import Discovery2012

    return Discovery2012(
        unit_of_work=Sql2012(database.engine).unit_of_work,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
        constants=settings.constants_2012,
    )


def build_simulation(scenario: Scenario, *, rule: str, audit_rate: float, seed: int) -> SimulatedForeman:
    """Build a discovery service in memory with simulated workers around it, all chance from the seed."""
    from random import Random

    from ec262.adapters.memory.clock import ManualClock
    from ec262.adapters.memory.entropy import SeededEntropy
    from ec262.adapters.memory.prober import MemoryProber
    from ec262.adapters.memory.unit_of_work import MemoryStore
    from ec262.domain.simulation.population import Population
    from ec262.services.discovery import DiscoveryService
    from ec262.services.discovery_policy import Policy
    from ec262.services.simulated_workers import SimulatedWorkers
    from ec262.services.simulation import SimulatedForeman

    clock, entropy = ManualClock(), SeededEntropy(seed)
    discovery = DiscoveryService(
        unit_of_work=MemoryStore().unit_of_work,
        clock=clock,
        entropy=entropy,
        prober=MemoryProber(),
        policy=Policy(retention_s=0.0, audit_rate=audit_rate),
    )
    dice = Random(seed)  # noqa: S311 - repeatable is the point
    workers = SimulatedWorkers(
        discovery=discovery,
        clock=clock,
        entropy=entropy,
        dice=dice,
        population=Population(scenario, dice, salt=seed),
    )
    return SimulatedForeman(discovery=discovery, workers=workers, entropy=entropy, rule=rule)


def _ping(unit_of_work: UnitOfWorkFactory) -> None:
    """Ask the storage for something small. Raises DiscoveryUnavailable."""
    with unit_of_work() as uow:
        uow.accounts.page(after="", limit=1)
