"""Values in canonical form: each value has exactly one sequence of bytes."""
