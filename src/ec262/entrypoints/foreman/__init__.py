"""``ec262 foreman`` and the Python API of jobs."""
