"""Copies of values with some of their fields changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from attrs import evolve as fast_evolve
else:

    def fast_evolve(value, /, **changes):
        """Do what ``attrs.evolve`` does, in a fifth of the time: for classes without slots and validators, of whose
        values there are many. Type checkers see ``attrs.evolve``, and check the fields' names and types."""
        copy = object.__new__(type(value))
        # A new dictionary, not a copy of one: attributes are found in it four times as fast (PEP 659: a copy shares the
        # class's keys, for which there is no short way). And frozen classes refuse it in other words.
        object.__setattr__(copy, "__dict__", {**value.__dict__, **changes})
        return copy


__all__ = ["fast_evolve"]
