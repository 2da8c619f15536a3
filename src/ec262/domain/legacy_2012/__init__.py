"""The rules of the discovery API of 2012, which knows its clients by their address alone (docs/discovery-2012.md)."""
