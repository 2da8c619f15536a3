"""Commands, HTTP routes, the Python API, and the composition roots in ``bootstrap`` modules."""
