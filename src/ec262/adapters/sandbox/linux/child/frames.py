"""What worker, zygote and child say to one another, byte for byte.

Worker and zygote share a socket of whole messages (SOCK_SEQPACKET), each a kind and its fields; file descriptors
travel beside. Worker and child share a stream: one task goes in, one answer comes out.
"""

from __future__ import annotations

import struct

MAX_MESSAGE_BYTES = 1 << 16

# --- worker to zygote: the seccomp program; then a message for each child to fork; beside it two descriptors, of its
# end of the stream and of memory for its log ---

FORK_FIELDS = struct.Struct(">QQd")
"""Number of the child, bytes of memory, seconds of processor time."""

# --- zygote to worker: a kind, then its fields ------------------------------------------------------------------------

READY = b"R"
"""Everything is imported, privileges are dropped, the filter is there: children can be forked. As JSON, for each layer
its name, whether it is in force, and a detail."""

UNFIT = b"U"
"""Text: why there is no sandbox here, or no longer one."""

NUMBER = struct.Struct(">Q")

FORKED = b"F"
"""Number of the child; its pidfd beside it."""

NOT_FORKED = b"N"
"""Number of the child, then a text: why not."""

EXITED = b"X"
EXITED_FIELDS = struct.Struct(">Qid")
"""Number of the child, exit code as in ``os.waitstatus_to_exitcode``, seconds of processor time used."""

# --- worker to child ------------------------------------------------------------------------------------------------

TASK = struct.Struct(">?QBQQQ")
"""Whether it is a reduce task, seed, digits of floats, bytes of log allowed, sizes of functions and rows; both follow.
"""

# --- child to worker ------------------------------------------------------------------------------------------------

ANSWER = struct.Struct(">cQQ")
"""Kind and two sizes: of the outcome and the log, or of a text and nothing."""

RESULT = b"R"
MEMORY, CPU, WALL = b"M", b"C", b"W"
"""A limit was hit; the text says where."""
OPEN = b"O"
"""The child could not be locked down and has run nothing; the text says why."""

MAX_TEXT_BYTES = 1000
