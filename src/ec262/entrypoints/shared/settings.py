"""Settings: one frozen class per role, read from injected mappings.

A role reads only its own settings. The environment and a settings file may also hold those of other roles, which are
neither used nor checked. Precedence: flag, then environment (``EC262_`` and the field's name in capitals), then file
 (``--config`` or ``EC262_CONFIG``, TOML, the fields' names as keys), then the default here.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import sys
import tomllib
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar

import attrs
import msgspec
from attrs import validators as v

from ec262.adapters.machine.capacity import Machine, local_machine
from ec262.domain.discovery.ledger import MAX_GRANT
from ec262.domain.errors import ConfigurationError
from ec262.domain.foreman.data.cuts import MAX_PIECES
from ec262.domain.foreman.data.memory_budget import LEAST_BYTES, MemoryBudget, parse_bytes
from ec262.domain.legacy_2012.constants_2012 import Constants2012
from ec262.domain.protocol.limits import MAX_SLOTS
from ec262.domain.protocol.shapes import MAX_PACKAGES_CHARS
from ec262.domain.protocol.token import TOKEN_PATTERN
from ec262.domain.values.rounding import MAX_DIGITS
from ec262.domain.verification.rules import parse_rule
from ec262.domain.work.work import Limits
from ec262.domain.worker.availability import Availability, IdleRule, parse_hours

PREFIX = "EC262_"

_log = logging.getLogger(__name__)

UNSAFE_SANDBOX = "none-i-trust-every-foreman"
"""No sandbox. The name prevents choosing it by accident."""

NO_SANDBOX = (
    "ec262: WARNING: THERE IS NO SANDBOX. Jobs run inside the worker itself: every foreman can read and delete your "
    "files, use your network and your account, and do anything else that you can. Use this only for tests."
)
"""The warning about it."""

SANDBOXES = ("linux", "wasm", UNSAFE_SANDBOX)

LIKENESS = 0.7
"""Least similarity (difflib's ratio) of two names for one to count as a misspelling of the other."""

LISTS = ("allow", "hours", "trusted_proxy", "worker_network", "separate")
"""Settings of several values; in the environment they are separated by commas or spaces."""


MAX_KEPT_S = 10 * 365 * 24 * 3600.0
"""Longest time for which tasks are kept. It is finite because workers are sent the end of it, and JSON has no
infinity."""


TASK_MEMORY_MIB, LEAST_MEMORY_MIB = 1024, 16
"""Memory that a task may use: by default, and at least."""

OWN_MEMORY_MIB = 128
"""Memory that a worker's own processes use."""


def default_slots() -> int:
    """Return how many tasks this machine computes at a time: one per processor, if there is enough memory."""
    machine = local_machine()
    return max(1, min(MAX_SLOTS, machine.whole_processors, _memory_for_tasks_mib(machine) // TASK_MEMORY_MIB))


def default_memory_mib() -> int:
    """Return how much memory a task may use with the default number of slots."""
    return max(LEAST_MEMORY_MIB, min(TASK_MEMORY_MIB, _memory_for_tasks_mib(local_machine()) // default_slots()))


def _memory_for_tasks_mib(machine: Machine) -> int:
    return int(min(machine.memory_bytes, sys.maxsize)) // (1 << 20) - OWN_MEMORY_MIB


def _rule_spec(_instance: object, _attribute: object, value: str) -> None:
    try:
        parse_rule(value)
    except ValueError as error:
        raise ValueError(f"'verify': {error}") from error


def _hours(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    for text in value:
        try:
            parse_hours(text)
        except ValueError as error:
            raise ValueError(f"'hours': {error}") from error


def _invitation(_instance: object, _attribute: object, value: str | None) -> None:
    """Keep the code out of the error: it is worth credits."""
    if value is not None and not re.fullmatch(TOKEN_PATTERN, value):
        raise ValueError("'invitation' is not an invitation code: check for missing characters")


def _role(_instance: object, _attribute: object, value: str) -> None:
    if not re.fullmatch(r"foreman|worker-[0-9]{1,5}", value):
        raise ValueError(f"'role' must be foreman or worker-PORT, not {value}")


def _networks(_instance: object, attribute: attrs.Attribute[Any], value: tuple[str, ...]) -> None:
    for text in value:
        try:
            ipaddress.ip_network(text, strict=False)
        except ValueError as error:
            raise ValueError(f"{attribute.name!r}: {error}") from error


def _memory(_instance: object, _attribute: object, value: str | int) -> None:
    if parse_bytes(str(value)) < LEAST_BYTES:
        raise ValueError(f"'memory' must be at least {LEAST_BYTES >> 20}MiB: {value}")


def _allow(_instance: object, _attribute: object, value: tuple[str, ...]) -> None:
    size = sum(map(len, value))
    if size > MAX_PACKAGES_CHARS:
        raise ValueError(
            f"the names in 'allow' have {size} characters in total: at most {MAX_PACKAGES_CHARS} are allowed"
        )


def _grant(_instance: object, _attribute: object, value: int | str) -> None:
    if isinstance(value, int) and not 0 <= value <= MAX_GRANT:
        raise ValueError(f"'grant' must be 0 to {MAX_GRANT}, invitation or none: {value}")


@attrs.frozen(kw_only=True)
class ClientSettings:
    """How foremen, workers and account holders reach discovery."""

    discovery: str | None = None
    credentials: str | None = None
    """Folder of account tokens; None means ec262's folder in the user's state directory."""
    discovery_ca: str | None = None
    """PEM file of the authorities that vouch for discovery's certificate; None means those of the public web."""


@attrs.frozen(kw_only=True)
class AccountSettings(ClientSettings):
    """Settings of the ``account`` command."""

    patience: float = attrs.field(default=60.0, validator=v.gt(0))
    """How long to wait for discovery to answer before giving up."""


@attrs.frozen(kw_only=True)
class PeerSettings(ClientSettings):
    """Settings of both foremen and workers. Those for computing tasks apply to a worker and to a foreman's embedded
    system."""

    invitation: str | None = attrs.field(default=None, repr=False, validator=_invitation)
    """Code from discovery's operator that brings credits to an account."""
    slots: int = attrs.field(factory=default_slots, validator=[v.ge(1), v.le(MAX_SLOTS)])
    """Tasks that a worker computes at the same time."""
    allow: tuple[str, ...] = attrs.field(default=(), validator=_allow)
    """Packages that jobs may import, besides the harmless part of the standard library."""
    sandbox: str = attrs.field(default="linux", validator=v.in_(SANDBOXES))
    nice: int = attrs.field(default=0, validator=[v.ge(0), v.le(19)])
    """Niceness of tasks; 19 is the maximum."""


@attrs.frozen(kw_only=True)
class ForemanSettings(PeerSettings):
    """Settings of the ``foreman`` command and of ``run_job``."""

    role: str = attrs.field(default="foreman", validator=_role)
    """Account that pays: the foreman's own, or that of this user's worker on a port (``worker-11235``)."""
    verify: str = attrs.field(default="majority:3", validator=_rule_spec)
    report: str | None = None
    """Where to write the job's receipt: NAME.html, which also writes NAME.json next to it, or NAME.json alone."""
    seed: int = attrs.field(default=0, validator=[v.ge(0), v.lt(1 << 63)])
    task_timeout: float = attrs.field(default=600.0, validator=[v.ge(1), v.le(24 * 3600)])
    task_memory: int = attrs.field(default=1024, validator=v.ge(16))
    """Memory that a task may use, MiB; a worker may allow less."""
    memory: str | int = attrs.field(default="512MB", validator=_memory)
    """Memory for a job's data in the foreman, such as 256MB; anything beyond it spills to disk."""
    map_tasks: int | None = attrs.field(default=None, validator=v.optional([v.ge(1), v.le(MAX_PIECES)]))
    """Number of map tasks, if there are enough rows; None: sized by time."""
    reduce_tasks: int | None = attrs.field(default=None, validator=v.optional([v.ge(1), v.le(MAX_PIECES)]))
    """Number of reduce tasks, if there are enough keys; None: as the pool suggests."""
    round_floats: int = attrs.field(default=0, validator=[v.ge(0), v.le(MAX_DIGITS)])
    """Significant digits that floats in results are rounded to; 0 means no rounding."""
    attempts: int = attrs.field(default=3, validator=[v.ge(1), v.le(20)])
    patience: float = attrs.field(default=60.0, validator=v.gt(0))
    """How long to wait for workers to come, or for discovery to answer, before giving up."""

    workers: int = attrs.field(default=4, validator=[v.ge(3), v.le(256)])
    """Workers of the embedded system."""

    @property
    def task_limits(self) -> Limits:
        """Limits that a foreman asks for; workers may allow less."""
        return Limits(cpu_s=self.task_timeout, wall_s=self.task_timeout, memory_bytes=self.task_memory << 20)

    @property
    def memory_budget(self) -> MemoryBudget:
        """The memory for a job's data in the foreman."""
        return MemoryBudget(parse_bytes(str(self.memory)))


@attrs.frozen(kw_only=True)
class WorkerSettings(PeerSettings):
    """Settings of the ``worker`` command and of ``run_worker``."""

    port: int = attrs.field(default=11235, validator=[v.ge(0), v.le(65535)])
    """TCP port; 0 means any free one."""
    listen: str | None = None
    """Address to listen on; None means all addresses of this machine, IPv4 and IPv6."""
    advertise: str | None = None
    ahead: int = attrs.field(default=0, validator=[v.ge(0), v.le(1024)])
    """Tasks that may wait for each slot."""
    cpu_limit: float = attrs.field(default=600.0, validator=v.gt(0))
    wall_limit: float = attrs.field(default=600.0, validator=v.gt(0))
    memory_limit_mib: int = attrs.field(factory=default_memory_mib, validator=v.ge(LEAST_MEMORY_MIB))
    output_limit_mib: int = attrs.field(default=64, validator=v.ge(1))
    results_limit_mib: int = attrs.field(default=2048, validator=v.ge(1))
    """Results that wait on disk until their foremen fetch them or discovery forgets their tasks."""
    hours: tuple[str, ...] = attrs.field(default=(), validator=_hours)
    """Hours of the day, local time, as ``22-6``; none means around the clock."""
    when_idle: bool = False
    """Serve only while the machine is idle, as the next two settings define it."""
    idle_load: float = attrs.field(default=0.25, validator=[v.gt(0), v.le(1)])
    """CPU share of other programs above which the machine counts as in use."""
    idle_minutes: float = attrs.field(default=10.0, validator=v.ge(0))
    """Minutes without keyboard or mouse input before the machine counts as idle."""
    lease: float = attrs.field(default=60.0, validator=[v.ge(1), v.le(24 * 3600)])

    @property
    def limits(self) -> Limits:
        """The most that a task may use on this worker."""
        return Limits(
            cpu_s=self.cpu_limit,
            wall_s=self.wall_limit,
            memory_bytes=self.memory_limit_mib << 20,
            output_bytes=self.output_limit_mib << 20,
        )

    @property
    def availability(self) -> Availability:
        """When this machine is lent."""
        return Availability(
            hours=tuple(map(parse_hours, self.hours)),
            idle=IdleRule(load=self.idle_load, input_s=self.idle_minutes * 60) if self.when_idle else None,
        )


@attrs.frozen(kw_only=True)
class DiscoverySettings:
    """Settings of the ``discovery`` and ``discovery-admin`` commands."""

    host: str = "127.0.0.1"
    discovery_port: int = attrs.field(default=26262, validator=[v.ge(0), v.le(65535)])
    database: str | None = None
    """SQLAlchemy URL; None means a SQLite file in ec262's folder in the user's data directory."""
    grant: int | Literal["invitation", "none"] = attrs.field(default=12, validator=_grant)
    """Starting credits of a new account; 12 as in the system of 2012. ``invitation``: only invitations bring credits;
    ``none``: not even invitations do."""
    max_open_tasks: int = attrs.field(default=10_000, validator=v.ge(1))
    max_escrow: int = attrs.field(default=100_000, validator=v.ge(1))
    """Open tasks that an account may have, and credits in their escrow."""
    audit_rate: float = attrs.field(default=0.08, validator=[v.ge(0.01), v.le(1)])
    max_beginners: int = attrs.field(default=256, validator=v.ge(1))
    """Workers that have earned nothing yet and may be in the pool at the same time."""
    retention: float = attrs.field(default=24 * 3600.0, validator=[v.ge(0), v.le(MAX_KEPT_S)])
    history: float = attrs.field(default=30 * 24 * 3600.0, validator=[v.ge(0), v.le(MAX_KEPT_S)])
    """Seconds for which a task is remembered after its deadline."""
    separate: tuple[Literal["owner", "block"], ...] = ()
    """What no two workers of a task may have in common."""
    tls_cert: str | None = None
    tls_key: str | None = None
    """PEM files: the certificate with its chain, and its key; without them, plain HTTP."""
    trusted_proxy: tuple[str, ...] = attrs.field(default=(), validator=_networks)
    """Addresses or networks of proxies whose ``X-Forwarded-For`` is trusted."""
    worker_network: tuple[str, ...] = attrs.field(default=(), validator=_networks)
    """Addresses or networks in which workers are allowed in addition to global addresses."""
    max_connections: int = attrs.field(default=2000, validator=v.ge(1))
    """Connections that may be open at the same time; at most half of them from one address."""
    rate: float = attrs.field(default=100.0, validator=v.ge(0))
    burst: int = attrs.field(default=1000, validator=v.ge(1))
    """Requests that an account may make per second in the long run (0: no limit), and at once. An address may make ten
    times as many."""
    log_format: Literal["text", "json"] = "text"
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = attrs.field(default=None, validator=v.optional([v.ge(0), v.le(65535)]))
    """Where metrics are served; None means nowhere."""

    # The 2012 API.
    api_2012: bool = False
    """Whether it is offered alongside ``/v1``; it trusts source addresses."""
    task_ttl: float = attrs.field(default=86_400.0, validator=[v.gt(0), v.le(MAX_KEPT_S)])
    """Seconds after which a task is refunded if its foreman has not ended it."""
    api_2012_credits: int = attrs.field(default=12, validator=[v.ge(0), v.le(10**9)])
    api_2012_workers: int = attrs.field(default=3, validator=[v.ge(1), v.le(99)])
    """Workers per task, and so its price."""
    api_2012_port: int = attrs.field(default=26262, validator=[v.ge(1), v.le(65535)])
    api_2012_lease: int = attrs.field(default=60, validator=[v.ge(1), v.le(24 * 3600)])
    """Port and lease in seconds of a worker that names none."""
    api_2012_key_bytes: int = attrs.field(default=16, validator=[v.ge(16), v.le(64)])

    @property
    def constants_2012(self) -> Constants2012:
        """The numbers of the 2012 API."""
        return Constants2012(
            starting_credits=self.api_2012_credits,
            workers_a_task=self.api_2012_workers,
            default_port=self.api_2012_port,
            lease_s=self.api_2012_lease,
            task_ttl_s=self.task_ttl,
            key_bytes=self.api_2012_key_bytes,
        )


Role = TypeVar("Role", AccountSettings, ForemanSettings, WorkerSettings, DiscoverySettings)

ALL_NAMES = frozenset(name for role in Role.__constraints__ for name in attrs.fields_dict(role))
"""The settings of all roles: the environment and a file may hold any of them."""


def load_settings(
    role: type[Role], flags: Mapping[str, Any], environ: Mapping[str, str], *, place: str = "on the command line"
) -> Role:
    """Merge the sources into the settings of a role. ``flags`` may hold None for settings that were not given;
    ``place`` says where they were given, for errors. Names that no role has are an error in the file, a warning in the
    environment, and ignored in ``flags``. Raises ConfigurationError, which names the source and the setting."""
    names = attrs.fields_dict(role).keys()
    file = flags.get("config") or environ.get(PREFIX + "CONFIG")
    in_file = _only(names, _read_file(Path(file))) if file else {}
    in_environ = {name: environ[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in environ}
    _warn_of_unknown(environ)
    in_flags = {name: value for name, value in _only(names, flags).items() if value is not None}
    merged: dict[str, Any] = in_file | in_environ | in_flags
    for name in LISTS:
        if isinstance(merged.get(name), str):
            merged[name] = merged[name].replace(",", " ").split()
    try:
        return msgspec.convert(merged, role, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        sources = (
            dict.fromkeys(in_file, f"in {file}")
            | {name: f"in the environment, {PREFIX}{name.upper()}" for name in in_environ}
            | dict.fromkeys(in_flags, place)
        )
        raise ConfigurationError(f"bad setting: {_sentence(error, role, sources)}") from error


def _only(names: Collection[str], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name in names}


def _sentence(error: Exception, role: type[Role], sources: Mapping[str, str]) -> str:
    """Say what is wrong, where it was set, and which values are valid. attrs adds the attribute and the value to its
    errors, and msgspec prints all of it."""
    cause = error.__cause__
    text = str(cause.args[0]) if isinstance(cause, ValueError) and cause.args else str(error)
    named = re.search(r"`\$\.(\w+)", text) or re.match(r"'(\w+)'[ :]", text)
    if named is None or named[1] not in sources:
        return text
    words = re.search(r"Literal\[(.*?)\]", str(attrs.fields_dict(role)[named[1]].type))
    choice = f"; valid values: {words[1]}" if words is not None and "enum" in text else ""
    return f"{text} ({sources[named[1]]}{choice})"


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    """Warn about unknown variables that look like settings; leave out their values, which may be secrets."""
    known = sorted(name.upper() for name in (*ALL_NAMES, "config"))
    for name in sorted(environ):
        given = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and given not in known:
            # Compared without the prefix, which would make all names similar.
            nearest = get_close_matches(given, known, n=1, cutoff=LIKENESS)
            meant = f": did you mean {PREFIX}{nearest[0]}?" if nearest else ""
            _log.warning("unknown setting %s in the environment%s", name, meant)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the settings file {path}: {error}") from error
    unknown = sorted(content.keys() - ALL_NAMES)
    if unknown:
        raise ConfigurationError(f"{path} has unknown settings: {', '.join(unknown)}")
    return content
