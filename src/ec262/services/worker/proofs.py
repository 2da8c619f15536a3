"""Which connections have proved that they belong to foremen."""

from __future__ import annotations

from ec262.domain.ports.transport import Connection


class Proofs:
    """Marks connections as proven. A task proves only its ``most`` newest connections: one assignment must not suffice
    to keep all connections of a worker open."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._proven_by: dict[str, list[Connection]] = {}

    def add(self, task: str, connection: Connection) -> None:
        """Record that the peer has shown a secret of this task."""
        connections = self._proven_by.setdefault(task, [])
        if connection in connections:
            return
        connections.append(connection)
        connection.proven = True
        if len(connections) > self._most:
            oldest = connections.pop(0)
            oldest.proven = any(oldest in others for others in self._proven_by.values())

    def drop(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        for task, connections in list(self._proven_by.items()):
            if connection in connections:
                connections.remove(connection)
                if not connections:
                    del self._proven_by[task]
