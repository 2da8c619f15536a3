from __future__ import annotations

import pytest

from ec262.domain.protocol.messages import MAX_REASON_CHARS, Assign, Deliver, Delivered, Failed, Hello, Ready, Refused
from ec262.domain.terminal import printable
from tests.work_messages import compute_message


def test_nothing_in_a_strangers_text_acts_on_a_terminal() -> None:
    assert printable("a\x1b[31mb\x07\u202ec\ud800") == "a\ufffd[31mb\ufffd\ufffdc\ufffd"
    assert printable("line\n\ttab é ☃") == "line\n\ttab é ☃"
    assert Refused(task="", reason="\x1b").reason == "\ufffd"
    assert Failed(task="t", reason="\x1b").reason == "\ufffd"


@pytest.mark.parametrize("task", ["a b", "a\n", "../x", "é", "x" * 65])
def test_a_task_is_a_short_id(task: str) -> None:
    with pytest.raises(ValueError, match="task"):
        Ready(task=task)


@pytest.mark.parametrize("secret", [b"", b"x" * 15, b"x" * 65])
@pytest.mark.parametrize("kind", [Assign, Deliver])
def test_a_secret_is_neither_short_nor_long(kind: type[Assign | Deliver], secret: bytes) -> None:
    with pytest.raises(ValueError, match="secret"):
        kind(task="t", secret=secret)


def test_texts_are_short() -> None:
    Refused(task="", reason="r" * MAX_REASON_CHARS)
    with pytest.raises(ValueError, match="reason"):
        Refused(task="", reason="r" * (MAX_REASON_CHARS + 1))
    with pytest.raises(ValueError, match="release"):
        Hello(versions=(2,), release="r" * 65)
    with pytest.raises(ValueError, match="versions"):
        Hello(versions=(2,) * 17, release="")


def test_secrets_and_data_stay_out_of_reprs() -> None:
    secret = b"SECRET-SECRET-16"
    messages = [
        Assign(task="t", secret=secret),
        Deliver(task="t", secret=secret),
        Delivered(task="t", ciphertext=secret, log=secret),
        compute_message(functions=secret, rows=secret),
    ]
    assert not [message for message in messages if "SECRET" in repr(message)]
