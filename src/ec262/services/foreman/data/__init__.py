"""A job's data on its way through the phases."""
