"""``ec262 discovery-admin``: the operator's command."""
