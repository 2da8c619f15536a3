"""In-memory twins of the adapters: a whole job in one process, without a socket or a file."""
