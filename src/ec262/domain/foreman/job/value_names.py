"""Names of values, for comparison: two values have the same name exactly if they have the same canonical form.

The name of a small value is its canonical form; that of a large one is a digest of its items' names. Each container is
named only once, so comparing items at every level of nested values takes time proportional to their total size.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Any

from ec262.domain.values import canonical

_WHOLE_BYTES = 64
"""The maximum length of a name that is not a digest."""

_FORMS: dict[type, tuple[bytes, bytes]] = {
    list: (b"[", b"]"),
    tuple: (b'{"$tuple":[', b"]}"),
    set: (b'{"$set":[', b"]}"),
    frozenset: (b'{"$frozenset":[', b"]}"),
    dict: (b'{"$dict":[', b"]}"),
}


class Names:
    """Names values that were decoded from canonical bytes. They must stay alive and unchanged while this is in use."""

    def __init__(self) -> None:
        self._known: dict[int, bytes] = {}

    def of(self, value: Any) -> bytes:
        """Return the name of one value."""
        return self.of_each([value])[0]

    def of_each(self, values: Sequence[Any]) -> list[bytes]:
        """Return the name of each value."""
        if not set(map(type, values)) & _FORMS.keys():
            return list(map(_short, canonical.encode_each(values)))
        return [self._of(value) for value in values]

    def items(self, container: Iterable[Any]) -> dict[bytes, Any]:
        """Return the items of a set, or the keys of a dict, by name."""
        items = list(container)
        return dict(zip(self.of_each(items), items, strict=True))

    def _of(self, value: Any) -> bytes:
        form = _FORMS.get(type(value))
        if form is None:
            return _short(canonical.encode(value))
        name = self._known.get(id(value))
        if name is None:
            start, end = form
            name = self._known[id(value)] = _short(start + b",".join(self._inside(value)) + end)
        return name

    def _inside(self, container: Any) -> Sequence[bytes]:
        match container:
            case list() | tuple():
                return self.of_each(container)
            case Mapping():
                names = zip(self.of_each(list(container)), self.of_each(list(container.values())), strict=True)
                return sorted(b"[%b,%b]" % pair for pair in names)
            case _:
                return sorted(self.of_each(list(container)))


def _short(form: bytes) -> bytes:
    # No canonical form begins with "#", and nested forms are not truncated: names are as distinct as canonical forms.
    return form if len(form) <= _WHOLE_BYTES else b"#" + sha256(form).hexdigest().encode()
