"""The functions that the decorators mark, kept apart by module and by job.

One set of marked functions belongs to one module. A job takes the set of the module that calls ``run_job``, and a new
mapper in that module starts the set of the next job: nothing marked for an earlier job remains in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ec262.domain.errors import JobDefinitionError
from ec262.domain.work.roles import ROLES

NEEDED = ("mapper", "reducer")

Function = Callable[..., Any]
Namespace = dict[str, Any]
"""The globals of a module."""


class _Set:
    """The functions that one module has marked for its next job."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.functions: dict[str, Function] = {}
        self._taken = False
        self._recent: set[str] = set()
        """Roles marked since a job took the set, or marked again: they may belong to the next job."""
        self._early: set[str] = set()
        """Roles that were marked before the mapper of this set."""
        self._lost: dict[str, Function] = {}

    @property
    def module(self) -> str:
        return str(self.namespace.get("__name__"))

    def mark(self, role: str, function: Function) -> None:
        if role == "mapper" and role in self.functions:
            self._start_anew()
        elif self._taken or role in self.functions:
            self._recent.add(role)
        self._early.discard(role)
        self.functions[role] = function

    def _start_anew(self) -> None:
        kept = {role: function for role, function in self.functions.items() if role in self._recent}
        self._lost = {role: function for role, function in self.functions.items() if role not in kept}
        self.functions = kept
        self._early, self._recent, self._taken = set(kept), set(), False

    def take(self) -> dict[str, Function]:
        """Return the functions for a job. Raises JobDefinitionError if they are ambiguous."""
        if self._early and "reducer" not in self._early:
            early = ", ".join(_named(role, self.functions[role]) for role in sorted(self._early))
            raise JobDefinitionError(
                f"{early} was marked before {_named('mapper', self.functions['mapper'])}, and a new mapper starts a "
                "new job: mark the mapper first, or pass all functions to run_job"
            )
        for role in NEEDED:
            if role in self._lost and role not in self.functions:
                raise JobDefinitionError(
                    f"the job has no {role}: {_named(role, self._lost[role])} was marked before "
                    f"{_named('mapper', self.functions['mapper'])}, and a new mapper starts a new job: "
                    f"mark the {role} again, or pass {role}="
                )
        self._taken = True
        self._recent.clear()
        self._early.clear()
        return dict(self.functions)


class Marked:
    """The sets of all modules of this process."""

    def __init__(self) -> None:
        self._sets: dict[int, _Set] = {}
        """By the identity of a namespace, which its set keeps alive: names are not unique."""

    def mark(self, role: str, function: Function, namespace: Namespace) -> None:
        """Record that a module marks a function."""
        self._sets.setdefault(id(namespace), _Set(namespace)).mark(role, function)

    def clear(self) -> None:
        """Forget all functions."""
        self._sets.clear()

    def take(self, namespaces: Iterable[Namespace]) -> dict[str, Function]:
        """Return the marked functions for a job that runs in these namespaces, the innermost first: those of the
        first namespace that has marked any, otherwise those of the only module that has.

        Raises JobDefinitionError if several modules are candidates, or if several have marked functions of one job.
        """
        inner = next((self._sets[id(each)] for each in namespaces if id(each) in self._sets), None)
        if inner is None:
            if len(self._sets) > 1:
                modules = "; ".join(f"{each.module} ({_listed(each.functions)})" for each in self._sets.values())
                raise JobDefinitionError(
                    f"several modules mark functions: {modules}. Call run_job in the module that marks the job's "
                    "functions, or pass them to run_job"
                )
            inner = next(iter(self._sets.values()), None)
        if inner is None:
            return {}
        self._refuse_mixture(inner)
        return inner.take()

    def _refuse_mixture(self, inner: _Set) -> None:
        others = [
            f"{_named(role, each.functions[role])} in {each.module}"
            for role in ROLES
            for each in self._sets.values()
            if role in each.functions and role not in inner.functions
            # A combiner beside a mapper belongs to a job of that module.
            if role in NEEDED or "mapper" not in each.functions
        ]
        if others:
            raise JobDefinitionError(
                f"the functions are marked in several modules: {_listed(inner.functions)} in {inner.module}, "
                f"{', '.join(others)}. Mark the functions of a job in one module, or pass them to run_job"
            )


def _listed(functions: dict[str, Function]) -> str:
    return ", ".join(_named(role, function) for role, function in functions.items())


def _named(role: str, function: Function) -> str:
    return f"the {role} {getattr(function, '__qualname__', None) or repr(function)!s:.80}"
