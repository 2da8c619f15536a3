"""The pool of workers and the draw of teams from it."""
