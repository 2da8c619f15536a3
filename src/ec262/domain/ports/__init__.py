"""The ports: what the services need from the outside world, named by role."""
