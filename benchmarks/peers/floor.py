"""A lower bound in the manner of mincemeat: workers fetch pickled tasks over plain TCP and send results back.

Everything is computed once, unverified and unencrypted, and any peer is trusted. That is the point: whatever ec262
takes beyond this is the price of not having to trust. A frame is its size, in 4 bytes, and a pickle.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import pickle
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

SIZE = struct.Struct(">I")


def work(port: int) -> None:
    """Compute tasks until the server disconnects: the main function of a worker process."""

    async def serve() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            while True:
                function, number, argument = pickle.loads(await _receive(reader))  # noqa: S301 - as a floor does
                _send(writer, (number, function(argument)))
                await writer.drain()
        except asyncio.IncompleteReadError:
            writer.close()

    asyncio.run(serve())


class Floor:
    """A server and its worker processes."""

    def __init__(self, workers: int) -> None:
        self._runner = asyncio.Runner()
        self._idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self._peers: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._workers = workers
        port = self._runner.run(self._start())
        context = multiprocessing.get_context("spawn")
        self._processes = [context.Process(target=work, args=(port,), daemon=True) for _ in range(workers)]
        for process in self._processes:
            process.start()
        self._runner.run(self._gather())

    def map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        """Return the function's results, in the order of the arguments."""
        return self._runner.run(self._map(function, arguments))

    def close(self) -> None:
        """Disconnect, and wait for the workers to end."""
        for _, writer in self._peers:
            writer.close()
        self._runner.close()
        for process in self._processes:
            process.join()

    async def _start(self) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._idle.put_nowait((reader, writer))

        self._server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _gather(self) -> None:
        self._peers = [await self._idle.get() for _ in range(self._workers)]
        self._server.close()

    async def _map(self, function: Callable[[Any], Any], arguments: Sequence[Any]) -> list[Any]:
        todo = deque(enumerate(arguments))
        results: dict[int, Any] = {}

        async def feed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while todo:
                _send(writer, (function, *todo.popleft()))
                await writer.drain()
                number, result = pickle.loads(await _receive(reader))  # noqa: S301 - likewise
                results[number] = result

        await asyncio.gather(*(feed(*peer) for peer in self._peers))
        return [results[number] for number in range(len(arguments))]


async def _receive(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(SIZE.unpack(await reader.readexactly(SIZE.size))[0])


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    writer.write(SIZE.pack(len(data)))
    writer.write(data)
