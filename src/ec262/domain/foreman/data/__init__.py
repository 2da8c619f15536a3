"""A job's data: cut into tasks, grouped, merged, and spilled where memory is short."""
