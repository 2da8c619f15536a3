"""Jobs that mean harm, each a mapper that is told what there is to harm.

They reach for what imports hide from honest jobs, and go on to the system call where Python would be in the way. What
they could get hold of they return; whether they did harm is judged from outside, or, where it leaves no trace, by
whether the kernel did what they asked for.
"""

from tests.hostile_jobs import bombs, execution, files, kernel, network, processes, traps
from tests.hostile_jobs.reach import PAYLOADS, Payload, Target, armed

__all__ = [
    "PAYLOADS",
    "Payload",
    "Target",
    "armed",
    "bombs",
    "execution",
    "files",
    "kernel",
    "network",
    "processes",
    "traps",
]
