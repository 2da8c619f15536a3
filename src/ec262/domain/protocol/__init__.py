"""What the parties send each other: the bodies of ``/v1`` calls, and the messages between foreman and worker."""
