"""The composition root of foremen and workers: this module and ``bootstrap_discovery``, discovery's, are the only ones
that know both services and adapters.

Every function builds one role's objects with explicit constructors; whatever is passed in is used in place of the
default adapter. Imports are local so that a role loads only what it needs: a worker never imports the database driver.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.domain.foreman.job.verification_plan import VerificationPlan
    from ec262.domain.ports.cipher import Cipher
    from ec262.domain.ports.discovery import ForemanDiscovery, WorkerDiscovery
    from ec262.domain.ports.progress import Progress
    from ec262.domain.ports.result_store import ResultStore
    from ec262.domain.ports.sandbox import Sandbox
    from ec262.domain.ports.spill import Spills
    from ec262.domain.ports.transport import Dialer, Listener
    from ec262.domain.worker.surroundings import Surroundings
    from ec262.entrypoints.shared.settings import ClientSettings, ForemanSettings, WorkerSettings
    from ec262.services.foreman.foreman import Foreman
    from ec262.services.worker.worker import Worker


def build_foreman(
    settings: ForemanSettings,
    *,
    token: str | None = None,
    quiet: bool = False,
    verify: VerificationPlan | None = None,
    local: bool = False,
    discovery: ForemanDiscovery | None = None,
    dialer: Dialer | None = None,
    cipher: Cipher | None = None,
    progress: Progress | None = None,
    spills: Spills | None = None,
) -> Foreman:
    """Build a foreman for ``settings.discovery``; without a ``token`` it uses the account of this user. ``verify`` goes
    before the settings'. ``local`` means that all workers are the user's own, on this machine: a rule may let one
    worker decide, credits are not counted, and jobs are planned for the processors, which the slots share."""
    import time

    from ec262.adapters.ciphers.aes_siv import AesSivCipher
    from ec262.adapters.files.file_spill import FileSpill
    from ec262.adapters.machine.capacity import local_machine
    from ec262.adapters.machine.system_entropy import SystemEntropy
    from ec262.adapters.tcp.dialer import TcpDialer
    from ec262.adapters.terminal.progress_bar import choose_progress
    from ec262.domain.foreman.run.run_policy import RunPolicy
    from ec262.domain.protocol.limits import MAX_DEADLINE_S
    from ec262.services.foreman.foreman import Foreman
    from ec262.services.foreman.foreman_policy import ForemanPolicy, ForemanPorts
    from ec262.services.foreman.workers.worker_link import LinkPolicy
    from ec262.version import __version__

    ports = ForemanPorts(
        discovery=discovery or build_foreman_discovery(settings, token=token),
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
            one_word=local,
            attempts=settings.attempts,
            patience_s=settings.patience,
        ),
        link=LinkPolicy(release=__version__),
        limits=settings.task_limits,
        # Longer than the task's own limit, so that a task that runs out of time is told as such by its workers.
        deadline_s=min(MAX_DEADLINE_S, settings.task_timeout * 1.5 + 30),
        memory=settings.memory_budget,
        invitation=settings.invitation,
        local=local,
        slots=local_machine().whole_processors if local else None,
    )
    return Foreman(ports, policy)


def build_discovery_client(
    settings: ClientSettings, *, role: str, patience_s: float, token: str | None = None
) -> HttpDiscovery:
    """Build a client of ``settings.discovery`` that repeats a call for ``patience_s``. Without a ``token`` it uses the
    one on disk for this role, or creates it.

    Raises ConfigurationError if there is no discovery service in the settings, or what they name cannot be used.
    """
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.adapters.files.credentials import load_or_create_token
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
        patience_s=patience_s,
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


def credentials_folder(settings: ClientSettings) -> Path:
    """Return the folder of account tokens."""
    import platformdirs

    return Path(settings.credentials or platformdirs.user_state_dir("ec262"))


def build_foreman_discovery(settings: ForemanSettings, *, token: str | None = None) -> HttpDiscovery:
    """Build a foreman's client of ``settings.discovery``; without a ``token`` it uses the account of this user."""
    return build_discovery_client(settings, role=settings.role, token=token, patience_s=settings.patience)


def build_worker_discovery(settings: WorkerSettings, *, token: str | None = None) -> HttpDiscovery:
    """Build a worker's client of ``settings.discovery``. Without a ``token``, a worker with a port of its own has an
    account of its own on disk; one on any free port has an account for this run only, as nothing tells such workers
    apart."""
    import secrets

    if token is None and settings.port == 0:
        token = secrets.token_urlsafe(32)
    # A call is one attempt: the worker's services have their own patience, told by deadlines and leases.
    return build_discovery_client(settings, role=f"worker-{settings.port}", token=token, patience_s=0)


def build_worker(
    settings: WorkerSettings,
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

    from ec262.adapters.ciphers.aes_siv import AesSivCipher
    from ec262.adapters.files.file_result_store import FileResultStore
    from ec262.adapters.machine.local_surroundings import LocalSurroundings
    from ec262.adapters.machine.system_entropy import SystemEntropy
    from ec262.adapters.tcp.listener import TcpListener
    from ec262.services.worker.computer import WorkerPorts
    from ec262.services.worker.worker import Worker
    from ec262.services.worker.worker_policy import WorkerPolicy
    from ec262.version import __version__

    ports = WorkerPorts(
        discovery=discovery or build_worker_discovery(settings, token=token),
        sandbox=sandbox or build_sandbox(settings),
        cipher=cipher or AesSivCipher(),
        results=results or FileResultStore(capacity_bytes=settings.results_limit_mib << 20),
        surroundings=surroundings or LocalSurroundings(idleness=settings.when_idle),
        clock=time.monotonic,
        entropy=SystemEntropy(),
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


def build_sandbox(settings: WorkerSettings) -> Sandbox:
    """Build the sandbox that ``settings.sandbox`` names. Nothing is started. Raises SandboxUnavailable if what it needs
    is not installed."""
    match settings.sandbox:
        case "linux":
            from ec262.adapters.sandbox.linux.linux_sandbox import LinuxSandbox

            return LinuxSandbox(settings.allow, nice=settings.nice)
        case "wasm":
            from ec262.adapters.sandbox.wasm.wasm_sandbox import WasmSandbox

            return WasmSandbox(settings.allow, nice=settings.nice)
        case _:
            from ec262.adapters.sandbox.in_process import UnconfinedSandbox

            return UnconfinedSandbox()


def room_for_results(settings: WorkerSettings) -> tuple[Path, int]:
    """Return the folder where results wait to be delivered, and how many bytes are free there. Raises
    ConfigurationError if there is no room for one result of the size that a task may have."""
    from ec262.adapters.files.file_spill import room_for_large_files

    return room_for_large_files(least_bytes=settings.limits.output_bytes)


def check_room(settings: ForemanSettings) -> None:
    """Raise ConfigurationError if a job's data could not go to disk beyond its memory; warn if there is little room."""
    import logging

    from ec262.adapters.files.file_spill import room_for_large_files

    folder, free_bytes = room_for_large_files()
    if free_bytes < settings.memory_budget.total_bytes:
        logging.getLogger(__name__).warning(
            "only %d MiB are free in %s, where data beyond --memory %s are put away: set TMPDIR to a folder with more",
            free_bytes >> 20, folder, settings.memory,
        )  # fmt: skip
