"""Opening what workers deliver: it must be what was committed, as what it was committed."""

from __future__ import annotations

import pytest

from ec262.adapters.ciphers.aes_siv import AesSivCipher
from ec262.domain.errors import BadDelivery
from ec262.domain.protocol.messages import Delivered
from ec262.domain.work.digests import adjudicated_digest, ciphertext_digest
from ec262.domain.work.outcome import Outcome, Pairs, Stopped, encode_outcome
from ec262.domain.work.work import Limits
from ec262.domain.work.work_hash import WorkBinding
from ec262.services.foreman.workers.deliveries import largest_delivery, open_result

KEY, TASK = bytes(range(32)), "task-0001"
WORK = WorkBinding(work_hash=b"w" * 32, nonce=b"n" * 32)
PAIRS = Pairs(pairs=(("a", 1),))
LIMIT = Stopped(by="memory")


def opened(outcome: Outcome, *, as_stopped: bool, most: int = 1 << 20) -> bytes:
    """Open an outcome that was committed as stopped, or not."""
    cipher = AesSivCipher()
    ciphertext = cipher.encrypt(encode_outcome(outcome), key=KEY, task=TASK, label="result", work=WORK)
    digest = adjudicated_digest(ciphertext_digest(ciphertext), stopped=as_stopped)
    delivered = Delivered(task=TASK, ciphertext=ciphertext, log=b"")
    return open_result(delivered, digest=digest, key=KEY, work=WORK, cipher=cipher, most=most)


@pytest.mark.parametrize(("outcome", "as_stopped"), [(PAIRS, False), (LIMIT, True)])
def test_a_result_is_opened(outcome: Outcome, *, as_stopped: bool) -> None:
    assert opened(outcome, as_stopped=as_stopped) == encode_outcome(outcome)


@pytest.mark.parametrize(("outcome", "as_stopped"), [(PAIRS, True), (LIMIT, False)])
def test_a_result_that_was_committed_as_what_it_is_not_is_refused(outcome: Outcome, *, as_stopped: bool) -> None:
    with pytest.raises(BadDelivery, match="of another kind than the committed one"):
        opened(outcome, as_stopped=as_stopped)


def test_a_result_beyond_the_output_limit_is_refused() -> None:
    large = Pairs(pairs=(("a", "x" * 10_000),))
    size = len(encode_outcome(large))
    assert opened(large, as_stopped=False, most=size) == encode_outcome(large)
    with pytest.raises(BadDelivery, match=f"the task's output limit is {size - 100}"):
        opened(large, as_stopped=False, most=size - 100)


def test_a_limit_is_reported_however_low_the_output_limit_is() -> None:
    assert opened(LIMIT, as_stopped=True, most=1) == encode_outcome(LIMIT)


def test_no_more_is_received_than_the_limits_allow() -> None:
    least, usual = (largest_delivery(Limits(output_bytes=size, log_bytes=100)) for size in (1, 1 << 30))
    assert least < 2000
    assert 0 < usual - (1 << 30) < 1000
