"""Copies of values with some of their fields changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import evolve as changed
else:

    def changed(value, /, **changes):
        """Do what ``attrs.evolve`` does, in a fifth of the time: for classes without slots and validators, of whose
        values there are many. Type checkers see ``attrs.evolve``, and check the fields' names and types."""
        copy = object.__new__(type(value))
        object.__setattr__(copy, "__dict__", value.__dict__ | changes)  # frozen classes refuse it in other words
        return copy


__all__ = ["changed"]
