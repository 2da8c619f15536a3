"""What foreman and worker must agree on: the work of a task, and its result."""
