"""The API of 2012 over HTTP."""
