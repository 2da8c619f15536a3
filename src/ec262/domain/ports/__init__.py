"""The ports: what the services need of the world, named by role."""
