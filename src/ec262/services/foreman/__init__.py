"""The foreman's use cases."""
