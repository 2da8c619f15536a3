"""``ec262 account``: the account holder's command."""
