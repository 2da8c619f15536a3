"""Settings of all commands: one frozen class, read from injected mappings.

Precedence: flag, then environment (``EC262_`` and the field's name in capitals), then file (``--config`` or
``EC262_CONFIG``, TOML, the fields' names as keys), then the default here.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import msgspec
from attrs import validators as v

from ec262.domain.errors import ConfigurationError
from ec262.domain.job import Limits
from ec262.domain.verification import parse_rule

PREFIX = "EC262_"


def _rule_spec(_instance: object, _attribute: object, value: str) -> None:
    parse_rule(value)


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that flags, environment and file can set. Times are seconds, sizes MiB where the name says so."""

    # Who to talk to. No discovery service means: an embedded one, on this machine, for this job.
    discovery: str | None = None
    credentials: str | None = None
    """Folder of account tokens; None means ec262's folder in the user's state directory."""

    # Foreman.
    verify: str = attrs.field(default="majority:3", validator=_rule_spec)
    seed: int = attrs.field(default=0, validator=[v.ge(0), v.lt(1 << 63)])
    task_timeout: float = attrs.field(default=600.0, validator=[v.ge(1), v.le(24 * 3600)])
    task_memory: int = attrs.field(default=1024, validator=v.ge(16))
    """Memory that a task may use, MiB; a worker may allow less."""
    attempts: int = attrs.field(default=3, validator=[v.ge(1), v.le(20)])
    patience: float = attrs.field(default=60.0, validator=v.gt(0))
    """How long to wait for workers to come, or for discovery to answer, before giving up."""
    workers: int = attrs.field(default=4, validator=[v.ge(3), v.le(256)])
    """Workers of the embedded system."""

    # Worker.
    port: int = attrs.field(default=11235, validator=[v.ge(0), v.le(65535)])
    """TCP port; 0 means any free one."""
    listen: str = "0.0.0.0"  # noqa: S104 - a worker is there to be reached; TLS and secrets guard it
    advertise: str | None = None
    slots: int = attrs.field(factory=lambda: os.cpu_count() or 1, validator=[v.ge(1), v.le(1024)])
    allow: tuple[str, ...] = ()
    """Packages that jobs may import, beside the harmless part of the standard library."""
    cpu_limit: float = attrs.field(default=600.0, validator=v.gt(0))
    wall_limit: float = attrs.field(default=600.0, validator=v.gt(0))
    memory_limit_mib: int = attrs.field(default=1024, validator=v.ge(16))
    results_limit_mib: int = attrs.field(default=2048, validator=v.ge(1))
    """Results that wait on disk until their foremen fetch them or discovery forgets their tasks."""
    lease: float = attrs.field(default=60.0, validator=[v.ge(1), v.le(24 * 3600)])

    # Discovery.
    host: str = "127.0.0.1"
    discovery_port: int = attrs.field(default=26262, validator=[v.ge(0), v.le(65535)])
    database: str | None = None
    """SQLAlchemy URL; None means a SQLite file in ec262's folder in the user's data directory."""
    grant: int = attrs.field(default=12, validator=v.ge(0))
    """Credits that a new account starts with; 12 is what the system of 2012 gave."""

    @property
    def limits(self) -> Limits:
        """The most that a task may use on this worker."""
        return Limits(cpu_s=self.cpu_limit, wall_s=self.wall_limit, memory_bytes=self.memory_limit_mib << 20)


def load_settings(flags: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Merge the sources into one value. ``flags`` may hold None for what was not given, and names that are no settings
    are an error only in the file. Raises ConfigurationError naming the source and the setting."""
    names = {field.name for field in attrs.fields(Settings)}
    merged: dict[str, Any] = {}
    file = flags.get("config") or environ.get(PREFIX + "CONFIG")
    if file:
        merged |= _read_file(Path(file), names)
    merged |= {name: environ[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in environ}
    merged |= {name: value for name, value in flags.items() if name in names and value is not None}
    if isinstance(merged.get("allow"), str):
        merged["allow"] = [name for name in merged["allow"].replace(",", " ").split() if name]
    try:
        return msgspec.convert(merged, Settings, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise ConfigurationError(f"bad setting: {error}") from error


def _read_file(path: Path, names: set[str]) -> dict[str, Any]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"cannot read the settings file {path}: {error}") from error
    unknown = sorted(content.keys() - names)
    if unknown:
        raise ConfigurationError(f"{path} has settings that do not exist: {', '.join(unknown)}")
    return content
