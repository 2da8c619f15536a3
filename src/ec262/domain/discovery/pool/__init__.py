"""The pool of workers, and drawing from it."""
