"""Compile the sandbox's system call policy into the seccomp programs that the package ships.

After a change to ``adapters/sandbox/linux/seccomp/policy.py``: ``python -m tests.compile_policy``. The tests fail until
then.
"""

from __future__ import annotations

import errno
import platform
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import seccompy

from ec262.adapters.sandbox.linux.seccomp import policy, programs

MODULE = Path(programs.__file__)
ARCHITECTURES = "x86_64", "aarch64"

_HEADER = '''"""The seccomp program of policy.py for each architecture: instructions of eight bytes, in hexadecimal.

Written by ``python -m tests.compile_policy``. Do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping
'''

_LINE = 96


def compile_policy(machine: str, holes: Iterable[str] = ()) -> bytes:
    """Return the program that enforces the policy's tables on an architecture, but allows ``holes`` as well."""
    with on(machine):
        rules = seccompy.Filter(default=seccompy.Action.ERRNO | errno.EPERM)
        masked = seccompy.CmpOp.MASKED_EQ
        for call in filter(exists, (*policy.ALLOWED, *holes)):
            rules.allow(call)
        for call, conditions in policy.CONDITIONAL:
            rules.allow(call, args=[(index, masked, wanted, mask) for index, mask, wanted in conditions])
        for call, error_number in policy.REFUSED.items():
            rules.errno(call, error_number)
        for call in filter(exists, policy.HOSTILE):
            rules.kill(call)
        return rules.program


def exists(call: str) -> bool:
    """Whether the architecture has the call. An allowed call that it lacks is one call less."""
    try:
        seccompy.syscall_nr(call)
    except ValueError:
        return False
    return True


@contextmanager
def on(machine: str) -> Iterator[None]:
    """Have system calls get their numbers on that architecture."""
    with patch.object(platform, "machine", return_value=machine):
        yield


def module_text() -> str:
    """Return what the module with the programs should contain."""
    parts = [_HEADER]
    for machine in ARCHITECTURES:
        lines = textwrap.wrap(compile_policy(machine).hex(), _LINE)
        parts.append("\n".join((f'_{machine.upper()} = """', *lines, '"""\n')))
    entries = "".join(f'    "{machine}": bytes.fromhex(_{machine.upper()}),\n' for machine in ARCHITECTURES)
    parts.append(f"PROGRAMS: Mapping[str, bytes] = {{\n{entries}}}\n")
    return "\n".join(parts)


if __name__ == "__main__":
    MODULE.write_text(module_text())
