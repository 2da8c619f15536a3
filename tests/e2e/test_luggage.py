"""What functions bring along to the workers, on the embedded system."""

from __future__ import annotations

import pytest

from tests.shell import Shell, pairs, succeeded

REDUCER = """
@ec262.reducer
def reducer(key, values):
    yield key, values[0]

data = {1: 4.0}
"""


def test_packages_are_found_however_they_are_used(shell: Shell) -> None:
    shell.file(
        "job.py",
        """
        import functools
        import ec262
        import numpy as np
        from numpy import sqrt

        inverse = np.linalg.inv
        one = np.float64(1)

        @functools.cache
        def half(number):
            return number / 2

        @ec262.mapper
        def mapper(key, value):
            yield "root", float(sqrt(value))
            yield "inverse", float(inverse([[value]])[0][0])
            yield "sum", float(one + half(value))
        """
        + REDUCER.replace("\n", "\n        "),
    )
    assert pairs(succeeded(shell.run("foreman", "job.py", "--quiet"))) == {"root": 2.0, "inverse": 0.25, "sum": 3.0}


def test_native_code_is_loaded_that_its_package_does_not_load_by_itself(shell: Shell) -> None:
    shell.file(
        "job.py",
        """
        import ec262
        from cryptography.hazmat.primitives import hashes

        @ec262.mapper
        def mapper(key, value):
            from cryptography.hazmat.primitives import hmac
            digest = hashes.Hash(hashes.SHA256())
            yield "digest", digest.finalize().hex()[:8]
            yield "hmac", hmac.HMAC(b"", hashes.SHA256()).finalize().hex()[:8]
        """
        + REDUCER.replace("\n", "\n        "),
    )
    assert pairs(succeeded(shell.run("foreman", "job.py", "--quiet"))) == {"digest": "e3b0c442", "hmac": "b613679a"}


def test_a_system_that_allows_more_than_the_next_job_needs_is_kept(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        """
        import ec262, numpy
        from ec262.entrypoints.foreman.session import current_session

        def run(mapper):
            print(ec262.run_job({1: 4.0}, mapper=mapper, reducer=lambda key, values: [(key, values[0])], quiet=True))
            return current_session()._systems._systems[:]

        first = run(lambda key, value: [(key, float(numpy.sqrt(value)))])
        assert run(lambda key, value: [(key, value)]) == first
        """,
    )
    done = shell.run(script)
    assert (done.stdout, done.stderr) == ("{1: 2.0}\n{1: 4.0}\n", "")


@pytest.mark.parametrize("statement", ["from . import consts", "from .consts import K", "import steps.consts"])
def test_an_own_module_that_is_imported_too_late_is_reported_in_one_sentence(shell: Shell, statement: str) -> None:
    (shell.folder / "steps").mkdir()
    shell.file("steps/__init__.py", "")
    shell.file("steps/consts.py", "K = 3\n")
    shell.file("steps/first.py", f"def first(key, value):\n    {statement}\n    yield key, value\n")
    shell.file("job.py", "import ec262\nfrom steps.first import first\n\nec262.mapper(first)\n" + REDUCER)
    done = shell.run("foreman", "job.py", "--quiet")
    told = {"from . import consts": ".consts", "from .consts import K": ".consts"}.get(statement, "steps.consts")
    assert (done.status, done.stdout) == (2, "")
    assert done.stderr.startswith(f"ec262: first imports '{told}' when it runs, where the job's own files are out of ")
    assert done.stderr.count("\n") == 1
