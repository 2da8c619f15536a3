"""Errors of the machine on which a foreman or a worker runs."""

from __future__ import annotations

from ec262.domain.errors.base import Ec262Error


class ConfigurationError(Ec262Error):
    """The owner of this machine must act."""


class SandboxUnavailable(ConfigurationError):
    """The machine lacks something that the sandbox needs; the text says what, and how to get it."""


class SandboxError(Ec262Error):
    """The sandboxed child produced no result."""


class SandboxLimitExceeded(SandboxError):
    """The child exceeded ``limit``, which is ``cpu``, ``wall``, ``memory`` or ``output``."""

    def __init__(self, limit: str, detail: str) -> None:
        super().__init__(f"{limit} limit exceeded: {detail}")
        self.limit = limit
        self.detail = detail


class SandboxCrashed(SandboxError):
    """The child died or violated the sandbox's own protocol."""


class SandboxBroken(SandboxError):
    """The sandbox could not run the child, for reasons that have nothing to do with the job."""


class ResultNotStored(Ec262Error):
    """The worker's result store is full or broken."""


class SpillFailed(Ec262Error):
    """The place for a foreman's spilled data is full or broken."""


class OutputFailed(Ec262Error):
    """A result cannot be written: the disk is full, or standard output is closed."""
