"""Validators for ids, addresses, digests and packages on the wire. The OpenAPI document takes its limits from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
from attrs import validators as v

from ec262.domain.verification.rules import parse_rule

DIGEST_BYTES = 32
"""SHA-256."""
ID_PATTERN = r"[A-Za-z0-9_-]{8,64}"
"""A regular expression for the whole id of a task, purchase or worker."""

MAX_PACKAGES_CHARS = 4096
"""The limit for all package names together that a worker offers or a task requires."""

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], Any]

an_id = v.matches_re(ID_PATTERN)
a_host = v.matches_re(r"[A-Za-z0-9._:-]{1,253}")
a_port = v.and_(v.ge(1), v.le(65535))
a_fingerprint = v.matches_re(r"[0-9a-f]{64}")
a_digest: Validator = v.and_(v.min_len(DIGEST_BYTES), v.max_len(DIGEST_BYTES))
a_package = v.matches_re(r"[A-Za-z0-9_.-]{1,100}")


def _few_characters(_instance: object, _attribute: object, names: tuple[str, ...]) -> None:
    """Raise ValueError if a list of packages is too long: discovery stores one for each worker and task, and reads them
    in every purchase."""
    size = sum(map(len, names))
    if size > MAX_PACKAGES_CHARS:
        raise ValueError(f"the package names have {size} characters in total: at most {MAX_PACKAGES_CHARS} are allowed")


package_list: Validator = v.and_(v.max_len(1000), v.deep_iterable(a_package), _few_characters)


def a_rule(_instance: object, _attribute: object, value: str) -> None:
    """Raise ValueError unless the value is a verification rule."""
    parse_rule(value)


def id_list(most: int) -> Validator:
    """Return a validator that accepts at most this many ids."""
    return v.and_(v.max_len(most), v.deep_iterable(an_id))
