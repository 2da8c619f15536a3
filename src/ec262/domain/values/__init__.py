"""Values in canonical form: one value, one sequence of bytes."""
