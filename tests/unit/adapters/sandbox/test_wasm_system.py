"""The system that a guest of the portable sandbox sees, called as a guest might."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ec262.adapters.sandbox.wasm.host.system import BADF, INVAL, PERM, SUCCESS, Exited, GuestSystem

SIZE = 1 << 16
BUFFERS, OUT, PATH, DATA = 0x100, 0x200, 0x300, 0x1000
YEAR_2000_NS = 946_684_800 * 10**9
ROOT, FIRST_FREE = 3, 4
CONTENT = b"0123456789"


class Memory:
    """A guest's memory, of 64 KiB."""

    def __init__(self) -> None:
        self.data = bytearray(SIZE)

    def read(self, start: int, size: int) -> bytes:
        if not 0 <= start <= start + size <= SIZE:
            raise IndexError
        return bytes(self.data[start : start + size])

    def write(self, start: int, data: bytes) -> None:
        self.read(start, len(data))
        self.data[start : start + len(data)] = data


class Guest:
    """A system with a guest's memory, and calls as a guest makes them."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.worked_ns = 0
        self.output = bytearray()
        self.system = GuestSystem(
            self.memory,
            files={"usr/lib/library.zip": memoryview(CONTENT)},
            environment={"TZ": "UTC0"},
            arguments=("python", "-c"),
            worked_ns=lambda: self.worked_ns,
            on_output=self.output.extend,
        )

    def number(self, place: int, form: str = "<I") -> int:
        value: int = struct.unpack_from(form, self.memory.data, place)[0]
        return value

    def open(self, path: str, *, how: int = 0, rights: int = 2) -> int:
        """Return the new file's number, or minus the error's."""
        self.memory.write(PATH, path.encode())
        error = self.system.path_open(ROOT, 0, PATH, len(path.encode()), how, rights, 0, 0, OUT)
        return self.number(OUT) if error == SUCCESS else -error

    def buffers(self, *sizes: int) -> None:
        place = DATA
        for number, size in enumerate(sizes):
            self.memory.write(BUFFERS + 8 * number, struct.pack("<II", place, size))
            place += size

    def read(self, number: int, size: int) -> bytes:
        self.buffers(size)
        assert self.system.fd_read(number, BUFFERS, 1, OUT) == SUCCESS
        return self.memory.read(DATA, self.number(OUT))

    def now(self, clock: int = 0) -> int:
        assert self.system.clock_time_get(clock, 1, OUT) == SUCCESS
        return self.number(OUT, "<Q")

    def sleep(self, ns: int, *, absolute: bool = False, kind: int = 0) -> int:
        self.memory.write(BUFFERS, struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", 7, kind, 1, ns, 0, absolute))
        return self.system.poll_oneoff(BUFFERS, DATA, 1, OUT)


@pytest.fixture
def guest() -> Guest:
    return Guest()


def test_it_receives_its_arguments_and_environment(guest: Guest) -> None:
    system = guest.system
    assert system.args_sizes_get(OUT, OUT + 4) == system.args_get(BUFFERS, DATA) == SUCCESS
    assert (guest.number(OUT), guest.number(OUT + 4)) == (2, 10)
    assert guest.memory.read(guest.number(BUFFERS + 4), 3) == b"-c\0"
    assert system.environ_sizes_get(OUT, OUT + 4) == system.environ_get(BUFFERS, DATA) == SUCCESS
    assert (guest.number(OUT), guest.number(OUT + 4)) == (1, 8)
    assert guest.memory.read(guest.number(BUFFERS), 8) == b"TZ=UTC0\0"


def test_the_clock_shows_work_and_sleep(guest: Guest) -> None:
    realtime, monotonic, process = range(3)
    assert [guest.now(clock) for clock in range(3)] == [YEAR_2000_NS, 0, 0]
    guest.worked_ns = 5
    assert guest.sleep(10) == SUCCESS
    assert (guest.number(OUT), guest.number(DATA, "<Q")) == (1, 7)
    assert [guest.now(realtime) - YEAR_2000_NS, guest.now(monotonic), guest.now(process)] == [15, 15, 5]
    assert guest.sleep(20, absolute=True) == guest.sleep(3, absolute=True) == SUCCESS
    assert guest.now(monotonic) == 20
    assert guest.system.clock_res_get(realtime, OUT) == guest.system.sched_yield() == SUCCESS


def test_there_is_nothing_but_time_to_wait_for(guest: Guest) -> None:
    assert guest.sleep(10, kind=1) == PERM
    assert guest.system.poll_oneoff(BUFFERS, DATA, 0, OUT) == INVAL
    assert guest.system.poll_oneoff(BUFFERS, DATA, 1 << 20, OUT) == INVAL
    assert guest.now(1) == 0


def test_randomness_follows_from_the_salt(guest: Guest) -> None:
    def draw(size: int) -> bytes:
        assert guest.system.random_get(0, size) == SUCCESS
        return guest.memory.read(0, size)

    guest.system.give(b"", salt=b"one")
    first = [draw(16), draw(16), draw(SIZE)]
    guest.system.give(b"", salt=b"two")
    other = draw(16)
    guest.system.give(b"", salt=b"one")
    assert [draw(16), draw(16), draw(SIZE)] == first
    assert len({*first, other}) == 4


def test_the_task_is_read_in_pieces(guest: Guest) -> None:
    guest.system.give(b"abcdef", salt=b"")
    guest.buffers(2, 2)
    assert guest.system.fd_read(0, BUFFERS, 2, OUT) == SUCCESS
    assert (guest.number(OUT), guest.memory.read(DATA, 4)) == (4, b"abcd")
    assert [guest.read(0, 100), guest.read(0, 100)] == [b"ef", b""]


def test_output_goes_to_the_answer_or_to_the_errors(guest: Guest) -> None:
    guest.memory.write(DATA, b"abcdef")
    guest.buffers(2, 2)
    assert guest.system.fd_write(1, BUFFERS, 2, OUT) == SUCCESS
    assert (guest.number(OUT), guest.output) == (4, bytearray(b"abcd"))
    for _ in range(2000):
        assert guest.system.fd_write(2, BUFFERS, 2, OUT) == SUCCESS
    assert (len(guest.system.errors), guest.output) == (4000, bytearray(b"abcd"))
    assert [guest.system.fd_write(number, BUFFERS, 2, OUT) for number in (0, ROOT, FIRST_FREE, 99)] == [PERM] * 4


def test_much_is_written_in_parts(guest: Guest) -> None:
    for number in range(1000):  # all of memory, again and again
        guest.memory.write(BUFFERS + 8 * number, struct.pack("<II", 0, SIZE))
    assert guest.system.fd_write(1, BUFFERS, 1000, OUT) == SUCCESS
    assert len(guest.output) == 1 << 20
    with pytest.raises(ValueError, match="too many"):
        guest.system.fd_write(1, BUFFERS, 1025, OUT)


@pytest.mark.parametrize("path", ["usr/lib/library.zip", "/usr/lib/library.zip"])
def test_a_file_can_be_read(guest: Guest, path: str) -> None:
    file = guest.open(path)
    assert file == FIRST_FREE
    assert [guest.read(file, 4), guest.read(file, 100), guest.read(file, 4)] == [CONTENT[:4], CONTENT[4:], b""]
    system = guest.system
    assert system.fd_seek(file, (1 << 64) - 2, 2, OUT) == SUCCESS  # -2 from its end
    assert (guest.number(OUT, "<Q"), guest.read(file, 9)) == (8, b"89")
    assert system.fd_tell(file, OUT) == SUCCESS
    assert guest.number(OUT, "<Q") == 10
    assert [system.fd_seek(file, *at, OUT) for at in ((11, 0), ((1 << 64) - 1, 0), (0, 9))] == [INVAL] * 3
    guest.buffers(3)
    assert system.fd_pread(file, BUFFERS, 1, 5, OUT) == SUCCESS
    assert guest.memory.read(DATA, 3) == b"567"
    assert system.fd_filestat_get(file, OUT) == SUCCESS
    assert (guest.number(OUT + 16, "<B"), guest.number(OUT + 32, "<Q")) == (4, 10)
    assert system.fd_close(file) == SUCCESS
    assert [system.fd_close(file), system.fd_tell(file, OUT), system.fd_filestat_get(file, OUT)] == [BADF] * 3


def test_a_folder_is_there_and_no_more(guest: Guest) -> None:
    assert [guest.open(path) for path in (".", "/", "usr", "usr/lib/")] == [4, 5, 6, 7]
    guest.memory.write(PATH, b"usr/lib")
    assert guest.system.path_filestat_get(ROOT, 0, PATH, 7, OUT) == SUCCESS
    assert guest.number(OUT + 16, "<B") == 3
    assert [guest.system.fd_read(4, BUFFERS, 0, OUT), guest.system.fd_pread(4, BUFFERS, 0, 0, OUT)] == [BADF] * 2
    assert [guest.system.fd_fdstat_get(number, OUT) for number in (0, ROOT, 7, 8)] == [SUCCESS] * 3 + [BADF]
    assert guest.system.fd_prestat_get(ROOT, OUT) == guest.system.fd_prestat_dir_name(ROOT, OUT, 1) == SUCCESS
    assert [guest.system.fd_prestat_get(4, OUT), guest.system.fd_prestat_dir_name(4, OUT, 1)] == [BADF] * 2


@pytest.mark.parametrize("path", ["etc/passwd", "../etc/passwd", "usr/../usr/lib/library.zip", "usr/lib/x", "u", "\0"])
def test_everything_else_is_refused(guest: Guest, path: str) -> None:
    assert guest.open(path) == -PERM
    assert guest.system.path_filestat_get(ROOT, 0, PATH, len(path), OUT) == PERM
    assert guest.system.path_filestat_get(ROOT, 0, PATH, 1 << 30, OUT) == PERM
    assert guest.system.path_filestat_get(FIRST_FREE, 0, PATH, len(path), OUT) == PERM


def test_nothing_can_be_written_or_made(guest: Guest) -> None:
    library = "usr/lib/library.zip"
    write = 1 << 6
    assert [guest.open(library, rights=write), guest.open(library, how=1), guest.open("new", how=1)] == [-PERM] * 3
    assert guest.open(library, how=2) == -PERM


def test_not_many_files_are_open_at_a_time(guest: Guest) -> None:
    opened = [guest.open("usr") for _ in range(300)]
    assert opened[:252] == list(range(4, 256))
    assert set(opened[252:]) == {-PERM}
    guest.system.fd_close(100)
    assert guest.open("usr") == 100


def test_it_can_end_itself(guest: Guest) -> None:
    with pytest.raises(Exited) as caught:
        guest.system.proc_exit(3)
    assert caught.value.status == 3


CALLS = [name for name in vars(GuestSystem) if not name.startswith("_") and name not in {"give", "proc_exit"}]
NUMBERS = st.one_of(st.integers(0, (1 << 32) - 1), st.sampled_from([0, 1, 2, 3, 4, 8, 17, OUT, SIZE - 1, SIZE]))


@settings(max_examples=400, deadline=1000)
@given(st.sampled_from(CALLS), st.lists(NUMBERS, min_size=9, max_size=9), st.binary(max_size=200))
def test_no_numbers_upset_it(name: str, numbers: list[int], content: bytes) -> None:
    guest = Guest()
    guest.memory.write(0, content)
    call = getattr(guest.system, name)
    count = call.__func__.__code__.co_argcount - 1
    with suppress(ArithmeticError, IndexError, ValueError, struct.error):  # what the engine makes an error number of
        assert isinstance(call(*numbers[:count]), int)
    assert len(guest.output) <= 1 << 20
