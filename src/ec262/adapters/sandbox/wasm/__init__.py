"""The portable sandbox: CPython in WebAssembly. ``sandbox``, ``process`` and what they use run in the worker, ``host``
in a process of its own for each task, with the WebAssembly engine, ``guest`` inside the engine. ``frames`` is what the
three say to one another."""
