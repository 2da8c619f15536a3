"""Simulated workers, the policies under test, and the statistics of runs: all of the simulator except I/O."""
