"""The states of a task at discovery, and the events that move it from one to the next."""

from __future__ import annotations

import enum

from ec262.domain.verification.task_state import TaskState


class Event(enum.Enum):
    """An event in the life of a task."""

    COMMITMENT = "a commitment"
    SURRENDER = "a surrender"
    WIN = "a win"
    LONE_WIN = "a provisional win"
    ACCEPTANCE = "an acceptance"
    DOUBT = "a doubt"
    REPLICAS = "more replicas"
    DISPUTE = "a dispute"
    DEADLINE = "a deadline"

    __hash__ = object.__hash__  # as for TaskState


NEXT = {
    (TaskState.OPEN, Event.COMMITMENT): TaskState.OPEN,
    (TaskState.OPEN, Event.SURRENDER): TaskState.OPEN,
    (TaskState.OPEN, Event.WIN): TaskState.WON,
    (TaskState.OPEN, Event.REPLICAS): TaskState.OPEN,
    (TaskState.OPEN, Event.DISPUTE): TaskState.DISPUTED,
    (TaskState.OPEN, Event.LONE_WIN): TaskState.PROVISIONAL,
    (TaskState.OPEN, Event.DEADLINE): TaskState.REFUNDED,
    (TaskState.PROVISIONAL, Event.COMMITMENT): TaskState.PROVISIONAL,
    (TaskState.PROVISIONAL, Event.SURRENDER): TaskState.PROVISIONAL,
    (TaskState.PROVISIONAL, Event.WIN): TaskState.WON,
    (TaskState.PROVISIONAL, Event.REPLICAS): TaskState.PROVISIONAL,
    (TaskState.PROVISIONAL, Event.ACCEPTANCE): TaskState.WON,
    (TaskState.PROVISIONAL, Event.DOUBT): TaskState.OPEN,
    (TaskState.PROVISIONAL, Event.DEADLINE): TaskState.SETTLED,
    (TaskState.WON, Event.COMMITMENT): TaskState.WON,
    (TaskState.WON, Event.SURRENDER): TaskState.WON,
    (TaskState.WON, Event.DEADLINE): TaskState.SETTLED,
}
"""The state of a task after an event. An event that is not listed for a state cannot happen in it."""

RUNNING = frozenset(state for state, _ in NEXT)
"""The states in which a task's escrow still holds credits and its deadline has not been applied."""
