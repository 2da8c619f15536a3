"""The state machine that runs a job, and the parts of it."""
