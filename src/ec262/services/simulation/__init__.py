"""The simulator: the real foreman and the real discovery service on a virtual clock."""
