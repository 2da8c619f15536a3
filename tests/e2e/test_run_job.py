"""``run_job`` as its callers meet it: in scripts, consoles, threads and pytest. Where the embedded system does not
matter, jobs run in a network that stands already."""

from __future__ import annotations

import re

import pytest

from tests.shell import Network, Shell, succeeded


def test_decorated_functions_belong_to_one_job(shell: Shell, network: Network) -> None:
    script = shell.file(
        "script.py",
        """
        import ec262

        rows = {number: number for number in range(1, 5)}

        @ec262.mapper
        def mapper(key, value):
            yield "a", value

        @ec262.reducer
        @ec262.combiner
        def add_up(key, values):
            yield key, sum(values)

        print(ec262.run_job(rows, map_tasks=1))

        @ec262.mapper
        def mapper(key, value):
            yield "a", value

        @ec262.reducer
        def highest(key, values):
            yield key, max(values)

        print(ec262.run_job(rows, map_tasks=1, credentials="second"))
        """,
    )
    done = shell.run(script, EC262_DISCOVERY=network.url)
    assert (done.status, done.stdout) == (0, "{'a': 10}\n{'a': 4}\n")


FORGOTTEN = """
    import ec262

    def forgotten(key, value):
        (value, key)

    def kept(key, value):
        yield key, value

    def none_found(key, value):
        if value < 0:
            yield key, value
"""


@pytest.mark.parametrize(
    ("mapper", "reducer", "told"),
    [
        ("forgotten", "kept", "the mapper forgotten returned no pairs for any row: is a yield missing?"),
        ("kept", "forgotten", "the reducer forgotten returned no pairs for any key: is a yield missing?"),
    ],
)
def test_a_forgotten_yield_is_reported(shell: Shell, network: Network, mapper: str, reducer: str, told: str) -> None:
    call = f"ec262.run_job({{1: 1, 2: 2}}, mapper={mapper}, reducer={reducer}, quiet=True)"
    script = shell.file("script.py", FORGOTTEN + f"\n    print({call})\n")
    done = shell.run(script, EC262_DISCOVERY=network.url)
    assert (done.status, done.stdout) == (0, "{}\n")
    assert f"{script}:13: UserWarning: the result is empty: {told}" in done.stderr

    job = FORGOTTEN + f"\n    ec262.mapper({mapper})\n    ec262.reducer({reducer})\n    data = {{1: 1, 2: 2}}\n"
    shell.file("job.py", job)
    done = shell.run("foreman", "job.py", "--discovery", network.url, "--credentials", "second")
    assert (done.status, done.stdout) == (0, "")
    assert done.stderr.endswith(f"ec262: the result is empty: {told}\n")


def test_a_mapper_that_finds_nothing_is_not_a_mistake(shell: Shell, network: Network) -> None:
    call = "ec262.run_job({1: 1}, mapper=none_found, reducer=kept, quiet=True)"
    done = shell.run(shell.file("script.py", FORGOTTEN + f"\n    print({call})\n"), EC262_DISCOVERY=network.url)
    assert succeeded(done) == "{}\n"


def test_a_loop_of_short_jobs_shows_the_first_one_only(shell: Shell) -> None:
    text = FORGOTTEN + "\n    for _ in range(5):\n        ec262.run_job({1: 1}, mapper=kept, reducer=kept)\n"
    done = shell.run(shell.file("script.py", text))
    lines = done.stderr.splitlines()
    assert done.status == 0
    assert lines[0].startswith("map: 0/1 tasks")
    assert len(lines) <= 8, lines  # four of the first job; a busy machine may take longer than short for another


PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")
PLAIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Plugins take longer to import than these tests to run."""

RAISING = """
    import ec262

    def divide(number):
        return 1 // (number - 3)

    def share(key, number):
        yield key, divide(number)

    def add_up(key, shares):
        yield key, sum(shares)

    def run():
        ec262.run_job({3: 3}, mapper=share, reducer=add_up)
"""


def check_that_the_mappers_traceback_is_shown(text: str) -> None:
    """Whatever shows it has its own way; these lines, in this order, and none of how the job was run."""
    lines = [
        "ec262.run_job({3: 3}, mapper=share, reducer=add_up)",
        "yield key, divide(number)",
        "return 1 // (number - 3)",
        "UserCodeFailed: the mapper raised ZeroDivisionError at the row with key 3: integer division or modulo by zero",
    ]
    assert re.search(".*".join(map(re.escape, lines)), text, re.DOTALL), text
    for other in ("entrypoints/foreman/session.py", "asyncio", "During handling", "direct cause"):
        assert other not in text


def test_a_script_whose_mapper_raises_shows_where(shell: Shell) -> None:
    done = shell.run(shell.file("script.py", RAISING + "\n    run()\n"))
    assert (done.status, done.stdout) == (1, "")
    check_that_the_mappers_traceback_is_shown(done.stderr)
    assert done.stderr.endswith(": integer division or modulo by zero\n")


def test_a_console_shows_where_a_mapper_raises(shell: Shell, network: Network) -> None:
    shell.file("job.py", RAISING)
    script = shell.file(
        "console.py",
        """
        import code, linecache

        name, text = "<cell 1>", open("job.py").read()
        linecache.cache[name] = len(text), None, text.splitlines(keepends=True), name
        console = code.InteractiveConsole(filename="<console>")
        console.runcode(compile(text, name, "exec"))
        console.push("run()")
        """,
    )
    done = shell.run(script, EC262_DISCOVERY=network.url)
    assert (done.status, done.stdout) == (0, "")
    check_that_the_mappers_traceback_is_shown(done.stderr)


def test_pytest_shows_where_a_mapper_raises(shell: Shell, network: Network) -> None:
    shell.file("test_job.py", RAISING + "\n    def test_it():\n        run()\n")
    done = shell.run(*PYTEST, **PLAIN, EC262_DISCOVERY=network.url)
    assert done.status == 1
    check_that_the_mappers_traceback_is_shown(done.stdout)
    assert "entrypoints/foreman/api.py" not in done.stdout


def test_two_test_files_with_decorators_run_their_own_jobs(shell: Shell, network: Network) -> None:
    for name in ("first", "second"):
        shell.file(
            f"test_{name}.py",
            f"""
            import ec262

            @ec262.mapper
            def mapper(key, value):
                yield key, "{name}"

            @ec262.reducer
            def reducer(key, values):
                yield "{name}", values[0]

            def test_job():
                assert ec262.run_job({{1: 1}}, credentials="{name}") == {{"{name}": "{name}"}}
            """,
        )
    done = shell.run(*PYTEST, **PLAIN, EC262_DISCOVERY=network.url)
    assert done.status == 0, done.stdout


IN_THREADS = """
    import logging, threading, time
    import attrs
    import ec262

    class UntilItRuns(logging.Handler):
        def __init__(self):
            super().__init__()
            self.runs = threading.Event()

        def emit(self, record):
            if "map phase" in record.getMessage():
                self.runs.set()

    def sleep(key, seconds):
        time.sleep(seconds)
        yield key, seconds

    def name(key, _value):
        yield key, attrs.__name__

    def first(key, values):
        yield key, values[0]

    def run(number, mapper, value):
        results[number] = ec262.run_job({1: value}, mapper=mapper, reducer=first)

    results = {}
    handler = UntilItRuns()
    logging.getLogger("ec262.services.foreman.job_execution").addHandler(handler)
    logging.getLogger("ec262.services.foreman.job_execution").setLevel("INFO")
"""


def test_jobs_in_two_threads_of_a_fresh_process_share_a_system(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        IN_THREADS
        + """
    threads = [threading.Thread(target=run, args=(number, sleep, 0)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    from ec262.entrypoints.foreman.session import current_session
    print(sorted(results.items()), len(current_session()._systems._systems))
    """,
    )
    done = shell.run(script)
    assert (done.status, done.stdout) == (0, f"{[(number, {1: 0}) for number in range(4)]} 1\n")


def test_a_job_that_needs_another_system_lets_those_that_run_finish(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        IN_THREADS
        + """
    thread = threading.Thread(target=run, args=(1, sleep, 3))
    thread.start()
    handler.runs.wait()
    run(2, name, 0)  # attrs is a package, which the running system does not offer
    thread.join()
    run(3, name, 0)
    print(sorted(results.items()))
    """,
    )
    done = shell.run(script)
    assert (done.status, done.stdout) == (0, "[(1, {1: 3}), (2, {1: 'attrs'}), (3, {1: 'attrs'})]\n")


def test_a_system_that_died_is_replaced_for_the_next_job(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        IN_THREADS
        + """
    import os, signal
    from ec262.entrypoints.foreman.session import current_session

    def kill():
        handler.runs.wait()
        os.kill(current_session()._systems._systems[0]._process.pid, signal.SIGTERM)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        run(1, sleep, 30)
    except ec262.Ec262Error as error:
        print(error)
    thread.join()
    run(2, sleep, 0)
    print(results)
    """,
    )
    done = shell.run(script)
    assert done.stdout == "the embedded system ended during the job (exit status 143)\n{2: {1: 0}}\n"


def test_a_forked_process_neither_ends_the_system_nor_removes_its_files(shell: Shell) -> None:
    script = shell.file(
        "script.py",
        IN_THREADS
        + """
    import os, sys
    from ec262.entrypoints.foreman.session import current_session

    run(1, sleep, 0)
    system = current_session()._systems._systems[0]
    child = os.fork()
    if not child:
        run(2, sleep, 0)
        print(results, flush=True)
        sys.exit()
    print(os.waitpid(child, 0)[1], os.path.isdir(system._folder))
    run(3, sleep, 0)
    print(results)
    """,
    )
    done = shell.run(script)
    assert done.stdout.splitlines() == ["{1: {1: 0}, 2: {1: 0}}", "0 True", "{1: {1: 0}, 3: {1: 0}}"]
    assert shell.left() == []
