"""Limits of the bodies' fields as JSON Schema, derived from the validators of their attrs classes.

msgspec makes the schemas out of the types alone. attrs keeps the classes of its validators private, and their names and
fields have been the same since 2020; a validator that is not known here adds nothing, and a test asks for each limit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import attrs

Schema = dict[str, Any]

_BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}


def add_limits(kinds: Iterable[type], schemas: dict[str, Schema]) -> None:
    """Add the limits of each class's validators to its schema."""
    for kind in kinds:
        properties = schemas[kind.__name__].get("properties", {})
        for field in attrs.fields(kind):
            if field.validator is not None and field.name in properties:
                _limit(_value(properties[field.name]), field.validator)


def _value(schema: Schema) -> Schema:
    """Return the schema of the value itself, if it may also be null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    return choices[0] if len(choices) == 1 else schema


def _limit(schema: Schema, validator: Any) -> None:
    match type(validator).__name__:
        case "_AndValidator":
            for each in validator._validators:  # noqa: SLF001 - see above
                _limit(schema, each)
        case "_OptionalValidator":
            _limit(schema, validator.validator)
        case "_DeepIterable":
            _limit(schema["items"], validator.member_validator)
        case "_NumberValidator":
            schema[_BOUNDS[validator.compare_op]] = validator.bound
        case "_MatchesReValidator":
            schema["pattern"] = f"^(?:{validator.pattern.pattern})$"
        case "_MinLengthValidator":
            schema[_length(schema, "min")] = _size(schema, validator.min_length)
        case "_MaxLengthValidator":
            schema[_length(schema, "max")] = _size(schema, validator.max_length)


def _length(schema: Schema, end: str) -> str:
    return f"{end}Items" if schema.get("type") == "array" else f"{end}Length"


def _size(schema: Schema, count: int) -> int:
    """Bytes travel as Base64, four characters for three."""
    return -(-count // 3) * 4 if schema.get("contentEncoding") == "base64" else count
