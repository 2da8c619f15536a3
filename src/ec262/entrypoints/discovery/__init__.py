"""``ec262 discovery``: the ``/v1`` API over HTTP."""
