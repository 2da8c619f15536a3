"""Errors of a peer, or of the bytes that it sent."""

from __future__ import annotations

from ec262.domain.errors.base import Ec262Error


class PeerError(Ec262Error):
    """The peer misbehaved or is gone."""


class PeerLost(PeerError):
    """The connection failed, ended or went silent."""


class PeerRefused(PeerError):
    """The peer refused a request. The text is the reason that it gave, already cut to a safe length."""


class ProtocolViolation(PeerError):
    """The peer violated the protocol."""


class MessageTooLarge(ProtocolViolation):
    """A message exceeds the agreed size."""


class VersionMismatch(PeerError):
    """The peers have no protocol version in common."""


class BadDelivery(PeerError):
    """A delivered result differs from what was committed, or cannot be decrypted with the task's key."""


class NotCanonical(Ec262Error):
    """Bytes are not the canonical form of any value."""
