"""Which interpreters can run the same pickled functions, and which machines produce comparable results.

A pickle from another minor version of Python crashes the interpreter or fails in strange ways. So a job's functions are
only sent to workers with the foreman's bytecode magic number and the same major and minor version of cloudpickle.
Replicas of one task are compared byte by byte, so they all run in one runtime class.
"""

from __future__ import annotations

import attrs

# Foremen see these texts on their terminals, in explanations.
_short = attrs.validators.and_(attrs.validators.instance_of(str), attrs.validators.matches_re(r"[A-Za-z0-9._+-]{1,64}"))


@attrs.frozen(kw_only=True)
class PythonTag:
    """What must be equal for a pickled function to load: the foreman's requirement.

    ``magic`` is the interpreter's bytecode magic number (the first two bytes of ``importlib.util.MAGIC_NUMBER``, little
    endian). ``cloudpickle`` is its major and minor version ("3.1"), since patch releases load each other's pickles.
    ``version`` ("3.11") is for people and is not compared.
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
    version of the canonical encoding. The packages that a volunteer allows are not part of it: they decide which
    workers are eligible, not which results are comparable.
    """

    python: PythonTag
    machine: str = attrs.field(validator=_short)
    sandbox: str = attrs.field(validator=_short)
    canonical_format: int = attrs.field(validator=attrs.validators.ge(1))

    def __hash__(self) -> int:
        """Hash the field that differs most and is cheap: the hash is computed very often, for every worker in the
        pool."""
        return self.python.magic
