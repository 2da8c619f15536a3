"""The discovery service over HTTP, as its clients use it."""
