"""Which interpreters can run the same pickled functions, and which machines give comparable results.

A pickle of another Python minor version crashes the interpreter or fails in odd ways. So a job's functions are only
sent where the interpreter's bytecode magic number and cloudpickle's major and minor version are the foreman's own.
Replicas of one task are compared byte for byte, so they all run in one runtime class.
"""

from __future__ import annotations

import attrs

# Explanations quote these texts on the terminals of foremen.
_short = attrs.validators.and_(attrs.validators.instance_of(str), attrs.validators.matches_re(r"[A-Za-z0-9._+-]{1,64}"))


@attrs.frozen(kw_only=True)
class PythonTag:
    """What must be equal for a pickled function to load: the foreman's requirement.

    ``magic`` is the interpreter's bytecode magic number (``importlib.util.MAGIC_NUMBER``, first two bytes, little
    endian); ``cloudpickle`` is its major and minor version ("3.1"), since patch releases load each other's pickles;
    ``version`` is for people only ("3.11") and takes no part in comparisons.
    """

    implementation: str = attrs.field(validator=_short)
    magic: int = attrs.field(validator=[attrs.validators.ge(0), attrs.validators.lt(1 << 16)])
    cloudpickle: str = attrs.field(validator=_short)
    version: str = attrs.field(validator=_short, eq=False)

    def __str__(self) -> str:
        return f"{self.implementation} {self.version} (magic {self.magic}, cloudpickle {self.cloudpickle})"


@attrs.frozen(kw_only=True)
class RuntimeClass:
    """What must be equal for two workers' results to be comparable.

    ``machine`` is the architecture ("x86_64"), ``sandbox`` the name of the sandbox adapter, ``canonical_format`` the
    version of the canonical encoding. The packages that a volunteer allows are told beside it: they decide who is
    eligible, not who is comparable.
    """

    python: PythonTag
    machine: str = attrs.field(validator=_short)
    sandbox: str = attrs.field(validator=_short)
    canonical_format: int = attrs.field(validator=attrs.validators.ge(1))

    def __hash__(self) -> int:
        """Hash what differs most and costs nothing: it is asked for again and again, for every member of the pool."""
        return self.python.magic
