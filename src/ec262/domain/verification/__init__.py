"""Which result of a task wins, and with what confidence."""
