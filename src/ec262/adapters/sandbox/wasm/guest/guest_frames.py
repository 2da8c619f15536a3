"""What worker, host and guest say to one another, byte for byte.

Worker and host share two pipes, the host's standard input and output. To the guest, file 0 is the task and file 1 takes
the answer.
"""

from __future__ import annotations

import struct

# --- worker to host, and host to guest --------------------------------------------------------------------------------

TASK = struct.Struct(">I")
"""Size of a JSON object that follows. The worker's has the limits, the seconds ``cpu_s`` and the bytes
``memory_bytes``, ``output_bytes`` and ``log_bytes``, and ``guest``, which is what the host passes on: ``phase``,
``seed``, ``round_floats``, ``log_bytes``, and the sizes ``functions`` and ``rows`` of what comes behind it. What a
guest gets has nothing of the worker in it, so that it does the same on all of them."""

LAST_WORDS = b"?"
"""The time is over: say what the task is at."""

# --- host to worker ---------------------------------------------------------------------------------------------------

READY = b"!"
"""The guest is loaded and waits for its task."""

ANSWER = struct.Struct(">cQQ")
"""Kind and two sizes: of the outcome and the log; of a text and what was left in the place for notes."""

RESULT = b"R"
MEMORY, CPU, WALL = b"M", b"C", b"W"
"""A limit was hit; the text is empty."""
OUTPUT = b"O"
"""The result is too large: the first size is the result's, and nothing follows."""
ENDED = b"E"
"""The guest ended without an answer; the text says how."""

MAX_TEXT_BYTES = 1000

GUEST_REFUSED = 3
"""Exit status where no task is served: it was the guest that could not get ready, and said why."""

# --- guest to host ----------------------------------------------------------------------------------------------------

WAITING = struct.Struct("<IIII")
"""Once, before there is any job: the addresses of the function that serves a task, of the empty tuple and of the place
for notes, and that place's size. From a task on, it is an ANSWER of kind RESULT, or MEMORY with nothing behind it."""

LOG_BYTES = 64 << 10
"""The place for notes is the note of ``adapters/sandbox/note.py``, and as much of the log."""
