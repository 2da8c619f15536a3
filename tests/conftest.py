from hypothesis import settings

# Whether an example is slow says more about the machine, and who else is at work on it, than about the code.
settings.register_profile("ec262", deadline=None)
settings.load_profile("ec262")
