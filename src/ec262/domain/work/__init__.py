"""What a foreman and a worker must agree on: a task's work and its result."""
