"""Discovery's use cases, each in one transaction."""
