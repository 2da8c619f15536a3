"""What a job is, how it is planned, and why its results may differ."""
