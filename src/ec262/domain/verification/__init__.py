"""Which result of a task wins, and how sure that is."""
