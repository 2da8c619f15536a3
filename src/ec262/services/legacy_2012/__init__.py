"""The use cases of the API of 2012."""
