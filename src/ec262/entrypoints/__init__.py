"""Ways in: commands, HTTP routes, the Python API, and the composition root in two ``bootstrap`` modules."""
