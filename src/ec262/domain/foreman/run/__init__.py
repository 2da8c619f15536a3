"""The state machine that runs a job, and its parts."""
