"""The foreman's connections to workers, and what workers deliver over them."""
