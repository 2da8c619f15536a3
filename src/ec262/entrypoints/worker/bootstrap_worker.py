"""The composition root of workers; see ``bootstrap_foreman``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ec262.entrypoints.shared.discovery_client import build_discovery_client

if TYPE_CHECKING:
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.domain.ports.cipher import Cipher
    from ec262.domain.ports.discovery import WorkerDiscovery
    from ec262.domain.ports.result_store import ResultStore
    from ec262.domain.ports.sandbox import Sandbox
    from ec262.domain.ports.transport import Listener
    from ec262.domain.worker.surroundings import Surroundings
    from ec262.entrypoints.shared.settings import WorkerSettings
    from ec262.services.worker.worker import Worker


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


def build_worker_discovery(settings: WorkerSettings, *, token: str | None = None) -> HttpDiscovery:
    """Build a worker's client of ``settings.discovery``. Without a ``token``, a worker with a fixed port has its
    own account on disk. A worker on any free port gets an account for this run only, because nothing distinguishes such
    workers."""
    import secrets

    if token is None and settings.port == 0:
        token = secrets.token_urlsafe(32)
    # No retries here: the worker's services retry by themselves, until a deadline or the end of a lease.
    return build_discovery_client(settings, role=f"worker-{settings.port}", token=token, patience_s=0)


def build_sandbox(settings: WorkerSettings) -> Sandbox:
    """Build the sandbox that ``settings.sandbox`` names. Nothing is started. Raises SandboxUnavailable if a
    dependency is not installed."""
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
    """Return the folder where results wait for delivery, and the number of free bytes there. Raises ConfigurationError
    if there is no room for one result of the maximum size."""
    from ec262.adapters.files.file_spill import room_for_large_files

    return room_for_large_files(least_bytes=settings.limits.output_bytes)
