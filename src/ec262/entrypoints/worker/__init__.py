"""``ec262 worker``: lend this machine."""
