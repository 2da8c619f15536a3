"""Opens deliveries: strangers' bytes, which are checked against the workers' commitments."""

from __future__ import annotations

import hmac

from ec262.domain.errors import BadDelivery, TaskLimitExceeded, UserCodeFailed
from ec262.domain.ports.cipher import Cipher
from ec262.domain.protocol.messages import Delivered
from ec262.domain.terminal import printable
from ec262.domain.work.digests import adjudicated_digest, ciphertext_digest
from ec262.domain.work.outcome import Failure, Stopped, is_stopped
from ec262.domain.work.task_log import read_task_log
from ec262.domain.work.work import Limits, TaskName
from ec262.domain.work.work_hash import WorkBinding

MAX_CIPHER_BYTES = 64
"""The most that any cipher adds to a plaintext."""


LEAST_OUTPUT_BYTES = 1 << 10
"""A limit error or a crash is a result, too: it may take this much whatever the output limit is."""


def largest_delivery(limits: Limits) -> int:
    """Return the size of the largest delivery that is received for a task with these limits."""
    return max(limits.output_bytes, LEAST_OUTPUT_BYTES) + limits.log_bytes + 2 * MAX_CIPHER_BYTES


def open_result(
    delivered: Delivered, *, digest: bytes, key: bytes, work: WorkBinding, cipher: Cipher, most: int
) -> bytes:
    """Check and decrypt a delivery; return the bytes of its outcome, which may still be invalid. Raises BadDelivery,
    also if it is not a result of this ``work``, if it exceeds the output limit of ``most`` bytes, or if it was
    committed as a limit error or crash and is none, or the other way round."""
    size = len(delivered.ciphertext)
    if size > max(most, LEAST_OUTPUT_BYTES) + MAX_CIPHER_BYTES:
        raise BadDelivery(f"the delivered result has {size} bytes, but the task's output limit is {most}")
    committed = ciphertext_digest(delivered.ciphertext)
    stopped = not hmac.compare_digest(committed, digest)
    if stopped and not hmac.compare_digest(adjudicated_digest(committed, stopped=True), digest):
        raise BadDelivery("the delivered result is not the committed one")
    outcome = cipher.decrypt(delivered.ciphertext, key=key, task=delivered.task, label="result", work=work)
    if is_stopped(outcome) != stopped:
        raise BadDelivery("the delivered result is of another kind than the committed one")
    return outcome


def open_log(delivered: Delivered, *, key: bytes, work: WorkBinding, cipher: Cipher, most: int) -> str:
    """Return what a task printed, at most ``most`` bytes. Logs are not verified: an invalid log is dropped, and the
    result remains valid."""
    if len(delivered.log) > most + MAX_CIPHER_BYTES:
        return ""
    try:
        log = cipher.decrypt(delivered.log, key=key, task=delivered.task, label="log", work=work)
    except BadDelivery:
        return ""
    return printable(log.decode("utf-8", "replace"))


def user_error(failure: Failure, log: str) -> UserCodeFailed:
    """Return the error that shows the author of a job what their code did, with the ``log`` of its task."""
    exception = printable(failure.exception)
    return UserCodeFailed(
        function=failure.function,
        exception=exception,
        row=None if failure.row is None else printable(failure.row),
        frames=failure.frames,
        report=log,
        message=read_task_log(log, exception).message,
    )


def limit_error(name: TaskName, stopped: Stopped, log: str) -> TaskLimitExceeded:
    """Return the error that shows the author of a job which limit a task hit, with the ``log`` as its detail."""
    return TaskLimitExceeded(task=str(name), limit=stopped.by, detail=log)
