"""The system call policy, and the programs compiled from it."""
