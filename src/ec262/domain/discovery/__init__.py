"""Discovery's rules: accounts and credits, tasks, reputation."""
