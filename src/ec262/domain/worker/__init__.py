"""The worker's rules."""
