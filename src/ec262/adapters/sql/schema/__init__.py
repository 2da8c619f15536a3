"""The tables, and their revisions."""
