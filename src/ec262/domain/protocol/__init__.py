"""What the parties say to each other: the bodies of ``/v1``, and the messages between foreman and worker."""
