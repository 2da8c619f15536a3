"""Which connections a full listener keeps."""

from __future__ import annotations

from ec262.adapters.memory.transport import MemoryConnection, _Pipe
from ec262.services.worker.proofs import Proofs


def connections(count: int) -> list[MemoryConnection]:
    return [MemoryConnection(str(number), incoming=_Pipe(), outgoing=_Pipe()) for number in range(count)]


def test_a_task_proves_its_newest_connections() -> None:
    proofs = Proofs(most=2)
    first, second, third, other = connections(4)
    for connection in (first, second, second, third):
        proofs.add("a", connection)
    assert [each.proven for each in (first, second, third, other)] == [False, True, True, False]


def test_a_connection_stays_proven_while_any_task_proves_it() -> None:
    proofs = Proofs(most=1)
    first, second, third = connections(3)
    proofs.add("a", first)
    proofs.add("b", first)
    proofs.add("a", second)
    assert first.proven
    proofs.drop(second)
    proofs.add("b", third)
    assert not first.proven
    assert third.proven
