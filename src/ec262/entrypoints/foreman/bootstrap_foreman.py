"""The composition root of foremen.

The ``bootstrap`` modules, one for each role, are the only ones that know both services and adapters. Their functions
build a role's objects with explicit constructors. An adapter that is passed in replaces the default one. Imports are
local, so that a role loads only what it needs: a worker never imports the database driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ec262.entrypoints.shared.discovery_client import build_discovery_client

if TYPE_CHECKING:
    from ec262.adapters.discovery_client.http_discovery import HttpDiscovery
    from ec262.domain.foreman.job.verification_plan import VerificationPlan
    from ec262.domain.ports.cipher import Cipher
    from ec262.domain.ports.discovery import ForemanDiscovery
    from ec262.domain.ports.progress import Progress
    from ec262.domain.ports.spill import Spills
    from ec262.domain.ports.transport import Dialer
    from ec262.entrypoints.shared.settings import ForemanSettings
    from ec262.services.foreman.foreman import Foreman


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
    """Build a foreman for ``settings.discovery``; without a ``token`` it uses the account of this user. ``verify``
    overrides the settings' rule. ``local`` means that all workers belong to the user and run on this machine: a rule
    may let one worker decide, credits do not matter, and jobs are planned for the processors, which the slots share."""
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
        # Longer than the task's own limit, so that the workers can report a task that exceeds it.
        deadline_s=min(MAX_DEADLINE_S, settings.task_timeout * 1.5 + 30),
        memory=settings.memory_budget,
        invitation=settings.invitation,
        local=local,
        slots=local_machine().whole_processors if local else None,
    )
    return Foreman(ports, policy)


def build_foreman_discovery(settings: ForemanSettings, *, token: str | None = None) -> HttpDiscovery:
    """Build a foreman's client of ``settings.discovery``; without a ``token`` it uses the account of this user."""
    return build_discovery_client(settings, role=settings.role, token=token, patience_s=settings.patience)


def check_room(settings: ForemanSettings) -> None:
    """Raise ConfigurationError if a job's data cannot spill to disk; warn if there is little room."""
    import logging

    from ec262.adapters.files.file_spill import room_for_large_files

    folder, free_bytes = room_for_large_files()
    if free_bytes < settings.memory_budget.total_bytes:
        logging.getLogger(__name__).warning(
            "only %d MiB are free in %s, where data beyond --memory %s spills: set TMPDIR to a folder with more",
            free_bytes >> 20, folder, settings.memory,
        )  # fmt: skip
