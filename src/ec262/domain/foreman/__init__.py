"""The foreman's rules."""
