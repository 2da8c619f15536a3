"""The composition root of the discovery service and of its operator's command; see ``bootstrap_foreman``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from ec262.adapters.sql.sql_unit_of_work import SqlDatabase, SqlUnitOfWork
    from ec262.domain.discovery.unit_of_work import UnitOfWorkFactory
    from ec262.domain.errors import StorageDamaged
    from ec262.domain.ports.clock import Clock, Entropy
    from ec262.domain.ports.prober import Prober
    from ec262.entrypoints.http.metrics import Meter
    from ec262.entrypoints.shared.settings import DiscoverySettings
    from ec262.services.discovery.administration import DiscoveryAdmin
    from ec262.services.discovery.discovery_policy import Policy
    from ec262.services.discovery.discovery_service import DiscoveryService
    from ec262.services.discovery.transactions import OnDecided
    from ec262.services.legacy_2012.service_2012 import Discovery2012


def build_discovery_service(
    *,
    unit_of_work: UnitOfWorkFactory,
    policy: Policy | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    prober: Prober | None = None,
    on_decided: OnDecided = lambda _tasks: None,
) -> DiscoveryService:
    """Build the discovery service on top of a storage."""
    import time

    from ec262.adapters.machine.system_entropy import SystemEntropy
    from ec262.adapters.tcp.tls_prober import TlsProber
    from ec262.services.discovery.discovery_service import DiscoveryService

    return DiscoveryService(
        unit_of_work=unit_of_work,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
        prober=prober or TlsProber(),
        policy=policy,
        on_decided=on_decided,
    )


def discovery_policy(settings: DiscoverySettings) -> Policy:
    """Return the operator's policy according to the settings."""
    from ec262.domain.discovery.pool.pool import Tie
    from ec262.services.discovery.discovery_policy import Policy

    return Policy(
        grant=settings.grant if isinstance(settings.grant, int) else 0,
        invitations=settings.grant != "none",
        retention_s=settings.retention,
        history_s=settings.history,
        max_open_tasks=settings.max_open_tasks,
        max_escrow=settings.max_escrow,
        audit_rate=settings.audit_rate,
        max_beginners=settings.max_beginners,
        apart=frozenset(map(Tie, settings.separate)),
    )


def open_database(settings: DiscoverySettings, *, lasting: bool = True, create: bool = True) -> SqlDatabase:
    """Open ``settings.database``, or this user's default; without ``lasting``, a power failure may corrupt it. Raises
    ConfigurationError, also if it is empty and ``create`` is false; StorageDamaged."""
    from ec262.adapters.sql.sql_unit_of_work import SqlDatabase

    if settings.database is None and create:
        _make_folder(_data_folder())
    return SqlDatabase(database_url(settings), lasting=lasting, create=create)


def database_url(settings: DiscoverySettings) -> str:
    """Return ``settings.database``, or that of a file in the user's own folder."""
    return settings.database or f"sqlite:///{_data_folder() / 'discovery.sqlite'}"


def advice_on_damage(error: StorageDamaged, settings: DiscoverySettings) -> str:
    """Return a description of the damage to the database, and advice."""
    from ec262.adapters.sql.engine.damage import with_advice
    from ec262.adapters.sql.engine.sqlite_backup import without_password

    return with_advice(error, without_password(database_url(settings)))


def _data_folder() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("ec262"))


def _make_folder(folder: Path) -> None:
    from ec262.domain.errors import ConfigurationError

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"cannot create {folder} for the database: {error.strerror}; choose another place with --database "
            "sqlite:////PATH"
        ) from error


def build_discovery_admin(
    *,
    unit_of_work: UnitOfWorkFactory,
    snapshot: UnitOfWorkFactory,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> DiscoveryAdmin:
    """Build the operator's service, which works directly on discovery's storage."""
    import time

    from ec262.adapters.machine.system_entropy import SystemEntropy
    from ec262.services.discovery.administration import DiscoveryAdmin

    return DiscoveryAdmin(
        unit_of_work=unit_of_work,
        snapshot=snapshot,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
    )


def build_discovery_app(
    settings: DiscoverySettings,
    *,
    accounts: Mapping[str, int] | None = None,
    lasting: bool = True,
    prober: Prober | None = None,
    meter: Meter | None = None,
) -> Starlette:
    """Build the discovery service's application over ``settings.database``; for ``lasting`` see ``open_database``.

    ``accounts`` (token to credits) are opened before the first request. Raises ConfigurationError if the database
    cannot be opened, LedgerError if its books do not balance, StorageDamaged.
    """
    import time

    from ec262.adapters.tcp.tls_prober import TlsProber
    from ec262.entrypoints.discovery.discovery_api import discovery_app
    from ec262.entrypoints.http.client_address import ClientAddresses
    from ec262.entrypoints.http.long_poll import Bell
    from ec262.entrypoints.http.metrics import Meter
    from ec262.entrypoints.http.rates import rate_limits

    meter = meter or Meter()
    database = open_database(settings, lasting=lasting)
    bell = Bell()
    service = build_discovery_service(
        unit_of_work=meter.metered(database.unit_of_work, partial(_sound_snapshot, database)),
        policy=discovery_policy(settings),
        prober=prober or TlsProber(networks=settings.worker_network),
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
        check_storage=partial(_ping, database),
        examine_storage=database.examine if lasting else None,
        client_address=client_address,
        limits=limits,
        meter=meter,
        more_sweeps=[] if service_2012 is None else [service_2012.sweep],
    )
    if service_2012 is not None:
        from ec262.entrypoints.legacy_2012.routes_2012 import app_2012, put_beside

        put_beside(app, app_2012(service_2012, client_address=client_address, limits=limits, meter=meter))
    return app


def build_discovery_2012(
    settings: DiscoverySettings, database: SqlDatabase, *, clock: Clock | None = None, entropy: Entropy | None = None
) -> Discovery2012:
    """Build the service of the 2012 API over its tables in discovery's database."""
    import time

    from ec262.adapters.machine.system_entropy import SystemEntropy
    from ec262.adapters.sql.legacy_2012.sql_unit_of_work_2012 import Sql2012
    from ec262.services.legacy_2012.service_2012 import Discovery2012

    return Discovery2012(
        unit_of_work=Sql2012(database.engine).unit_of_work,
        clock=clock or time.time,
        entropy=entropy or SystemEntropy(),
        constants=settings.constants_2012,
    )


def _sound_snapshot(database: SqlDatabase) -> SqlUnitOfWork:
    database.check()
    return database.snapshot()


def _ping(database: SqlDatabase) -> None:
    """Make a small query to the storage. Raises DiscoveryUnavailable, also if damage is already known."""
    database.check()
    with database.unit_of_work() as uow:
        uow.accounts.page(after="", limit=1)
