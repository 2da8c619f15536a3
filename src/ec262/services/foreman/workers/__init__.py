"""The foreman's connections to workers, and what comes over them."""
