"""Discovery's use cases, each a transaction."""
