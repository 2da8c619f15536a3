"""Simulated workers, the policies that they are put to, and what came of it: all of the simulator that is no I/O."""
