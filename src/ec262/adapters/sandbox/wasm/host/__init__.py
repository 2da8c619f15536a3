"""What runs in the process that a task has for itself, outside of the engine."""
