"""Errors that the job's author must fix.

Where an error may be based on the report of a single worker, ``confirmed`` is False if no other worker was available to
confirm it; ``unconfirmed`` returns the error in that form.
"""

from __future__ import annotations

from ec262.domain.errors.base import Ec262Error
from ec262.domain.errors.key_texts import key_text

UNCONFIRMED = " (according to one worker; no other was available to confirm it)"


class JobError(Ec262Error):
    """The job's author must act."""


class JobDefinitionError(JobError):
    """A mapper, reducer, data or input file is missing or malformed."""

    def unconfirmed(self) -> JobDefinitionError:
        """Return this error as reported by one worker alone."""
        return JobDefinitionError(f"{self}{UNCONFIRMED}")


class FunctionNotPicklable(JobError):
    """A function of the job refers to something that cannot be sent to a worker."""


class ValueNotEncodable(JobError):
    """A key or value has a type without a canonical form.

    ``type_name`` is the type, ``where`` the path to it inside the value (such as ``[2]['a']``).
    """

    def __init__(self, reason: str, *, type_name: str, where: str = "") -> None:
        super().__init__(f"{reason}{f' (at {where})' if where else ''}")
        self.reason = reason
        self.type_name = type_name
        self.where = where


class KeyNotHashable(JobError):
    """A key that cannot be a key of a dict, such as a list: a job's result is a dict."""

    def __init__(self, reason: str, *, confirmed: bool = True) -> None:
        super().__init__(f"{reason}{'' if confirmed else UNCONFIRMED}")
        self.reason = reason
        self.confirmed = confirmed

    def unconfirmed(self) -> KeyNotHashable:
        """Return this error as reported by one worker alone."""
        return KeyNotHashable(self.reason, confirmed=False)


class KeyCollision(JobError):
    """Two keys are equal in Python (``1 == True == 1.0``) but are different values. ``where`` names the function that
    yielded them, if it is known."""

    def __init__(self, first: object, second: object, *, where: str = "", confirmed: bool = True) -> None:
        yielded = f"{where} yielded keys that are equal in Python but are different values" if where else ""
        both = f"{key_text(first)} ({type(first).__name__}) and {key_text(second)} ({type(second).__name__})"
        what = f"{yielded}: {both}" if where else f"the keys {both} are equal in Python but are different values"
        super().__init__(f"{what}{'' if confirmed else UNCONFIRMED}; {_advice_on_keys(first, second)}")
        self.first = first
        self.second = second
        self.where = where
        self.confirmed = confirmed

    def unconfirmed(self) -> KeyCollision:
        """Return this error as reported by one worker alone."""
        return KeyCollision(self.first, self.second, where=self.where, confirmed=False)

    def yielded_by(self, where: str) -> KeyCollision:
        """Return this error with the function that yielded the keys."""
        return KeyCollision(self.first, self.second, where=where, confirmed=self.confirmed)


def _advice_on_keys(first: object, second: object) -> str:
    """Return how to turn two equal keys into the same value."""
    if type(first) is not type(second):
        return "use keys of one type"
    if isinstance(first, float | complex):
        return "add 0 to such keys to turn -0.0 into 0.0"
    return "use values of one type inside them, and 0.0 instead of -0.0"


class UserCodeFailed(JobError):
    """One of the job's functions raised an exception.

    ``exception`` is the qualified type name. ``row`` is the text of the row's key, or None if the failure was not in a
    row (for example, when the functions were loaded). ``frames`` are the job's own frames as (function, line),
    outermost first. ``report`` is what the task printed, followed by the traceback. ``message`` is the exception's own
    text. The digest covers neither ``report`` nor ``message``, since they vary between honest machines.
    ``exception_type`` is the class of the exception if ``run_job`` raises this error and the class is loaded here.
    """

    def __init__(
        self,
        *,
        function: str,
        exception: str,
        row: str | None,
        frames: tuple[tuple[str, int], ...],
        report: str,
        message: str = "",
        confirmed: bool = True,
    ) -> None:
        where = f" at the row with key {row}" if row is not None else ""
        doubt = "" if confirmed else UNCONFIRMED
        super().__init__(f"the {function} raised {exception}{where}{doubt}{f': {message}' if message else ''}")
        self.function = function
        self.exception = exception
        self.row = row
        self.frames = frames
        self.report = report
        self.message = message
        self.confirmed = confirmed
        self.exception_type: type[BaseException] | None = None

    def unconfirmed(self) -> UserCodeFailed:
        """Return this error as reported by one worker alone."""
        return UserCodeFailed(
            function=self.function,
            exception=self.exception,
            row=self.row,
            frames=self.frames,
            report=self.report,
            message=self.message,
            confirmed=False,
        )


class TaskLimitExceeded(JobError):
    """A task exceeded a limit (``cpu``, ``wall``, ``memory``, ``output``) on the workers that computed it."""

    def __init__(self, *, task: str, limit: str, detail: str, confirmed: bool = True) -> None:
        super().__init__(f"{task} exceeded its {limit} limit{'' if confirmed else UNCONFIRMED}: {detail}")
        self.task = task
        self.limit = limit
        self.detail = detail
        self.confirmed = confirmed

    def unconfirmed(self) -> TaskLimitExceeded:
        """Return this error as reported by one worker alone."""
        return TaskLimitExceeded(task=self.task, limit=self.limit, detail=self.detail, confirmed=False)
