"""The vocabulary of ec262 and every rule: pure values and functions, no I/O, no time, no randomness."""
