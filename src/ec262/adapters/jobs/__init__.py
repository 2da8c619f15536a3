"""A job's functions: pickled, varied, watched."""
