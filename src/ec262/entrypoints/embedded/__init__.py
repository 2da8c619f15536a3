"""The embedded system: discovery and workers on the machine of a foreman."""
