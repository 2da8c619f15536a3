"""This machine: its capacity, its processes, who uses it, its randomness."""
