"""Shared by all commands: settings, logging, how a command runs and ends."""
