"""The 2012 API's tables."""
