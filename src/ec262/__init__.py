"""MapReduce in Python on machines that do not trust each other.

A job is a mapper and a reducer, marked with ``@ec262.mapper`` and ``@ec262.reducer``; ``ec262.run_job(data)`` runs it
and returns a dict. ``ec262.run_worker()`` lends this machine to others.
"""

from ec262.entrypoints.api import combiner, mapper, partitioner, reducer, run_job, run_worker

__version__ = "0.1.0"

__all__ = ["__version__", "combiner", "mapper", "partitioner", "reducer", "run_job", "run_worker"]
