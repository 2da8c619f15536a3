"""What the machine gives a sandbox, as values: which layers are in force, and what a trial job came up against."""

from __future__ import annotations

import attrs


@attrs.frozen(kw_only=True)
class Layer:
    """One layer of the sandbox: ``name`` is ``seccomp``, ``rlimits``, ``landlock`` or ``namespaces``.

    ``detail`` tells what of it is in force ("ABI 7: files, TCP, signals, abstract sockets"), or why it is not.
    """

    name: str
    in_force: bool
    detail: str = ""

    def __str__(self) -> str:
        """Return "landlock (ABI 7: files, ...)", or "no landlock (this kernel has none)"."""
        name = self.name if self.in_force else f"no {self.name}"
        return f"{name} ({self.detail})" if self.detail else name


@attrs.frozen(kw_only=True)
class AttemptedAct:
    """What came of one ``act`` that the witness job tried ("open a file"): ``told`` is "refused", or what it got."""

    act: str
    refused: bool
    told: str
