"""Jobs that mean harm, each a mapper that is told what there is to harm.

They reach for what imports hide from honest jobs, and go on to the system call where Python would be in the way. What
they could get hold of they return; whether they did harm is judged from outside.
"""

from tests.hostile_jobs import disk, network_and_kernel, processes, sandbox
from tests.hostile_jobs.reach import PAYLOADS, Target

__all__ = ["PAYLOADS", "Target", "disk", "network_and_kernel", "processes", "sandbox"]
