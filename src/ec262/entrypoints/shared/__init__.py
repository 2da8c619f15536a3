"""What all commands share: settings, logging, how a command runs and ends."""
