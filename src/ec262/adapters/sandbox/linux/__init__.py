"""The Linux sandbox: ``sandbox`` and ``zygote`` run in the worker, ``child`` in processes of its own, ``frames`` is
what they say to one another."""
