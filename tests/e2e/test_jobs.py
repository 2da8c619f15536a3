"""Jobs as users write them, by command line, on discovery and workers that were started separately."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter

import pytest

from tests.shell import (
    COUNTS,
    EXAMPLES,
    RHYME,
    WORD_COUNT,
    Foreman,
    Network,
    Shell,
    library_text,
    pairs,
    plain_word_count,
    succeeded,
)  # fmt: skip

# --- results --------------------------------------------------------------------------------------------------------


def test_a_word_count_is_what_a_plain_loop_gives(shell: Shell, foreman: Foreman) -> None:
    files = library_text(2 << 20)
    example = EXAMPLES / "wordcount.py"
    done = foreman(example, "--input", *files, "--format", "file", "--output", "counts.jsonl")
    assert succeeded(done) == ""
    counts = pairs((shell.folder / "counts.jsonl").read_text(encoding="utf-8"))
    assert counts == plain_word_count(files)


def test_humpty_dumpty_takes_what_a_newcomer_has(foreman: Foreman) -> None:
    example = EXAMPLES / "humpty_dumpty.py"
    plan = succeeded(foreman(example, "--dry-run"))
    assert plan == "2 map tasks and 1 reduce tasks, 3 replicas each: 9 credits of 12, 3 to spare\n"
    counts = [line.split() for line in succeeded(foreman(example)).splitlines()]
    text = "Humpty Dumpty sat on a wall Humpty Dumpty had a great fall All the King's horses and all the King's men "
    assert {word: int(count) for count, word in counts} == Counter(
        (text + "Couldn't put Humpty together again").split()
    )
    poor = foreman(example)
    assert (poor.status, poor.stdout) == (1, "")
    assert re.search(r"insufficient credits: have 3, need 9\b", poor.stderr)
    assert "Traceback" not in poor.stderr


def test_the_same_seed_gives_the_same_pi(shell: Shell, foreman: Foreman) -> None:
    example = (EXAMPLES / "pi.py").read_text().replace("50_000", "500")
    shell.file("pi.py", example)
    shell.file("again.py", example)

    def pi(job: str, seed: int, user: str) -> float:
        found: float = pairs(succeeded(foreman(job, "--seed", seed, "--credentials", user)))["pi"]
        return found

    first, again, other = pi("pi.py", 7, "a"), pi("again.py", 7, "b"), pi("pi.py", 8, "c")
    assert first == again != other
    assert 3 < other < 3.3  # 20,000 samples: 10 standard deviations to either side


def test_lines_are_rows(shell: Shell, foreman: Foreman) -> None:
    shell.file("a.txt", "one\ntwo\n")
    shell.file("b.txt", "three\n\nfive")
    shell.file(
        "job.py",
        """
        import ec262

        @ec262.mapper
        def keep(key, line):
            yield key[0], (key[1], line)

        @ec262.reducer
        def gather(path, lines):
            yield path, [list(line) for line in lines]
        """,
    )
    result = pairs(succeeded(foreman("job.py", "--input", "a.txt", "b.txt")))
    assert result == {"a.txt": [[1, "one"], [2, "two"]], "b.txt": [[1, "three"], [2, ""], [3, "five"]]}


def test_json_lines_are_rows(shell: Shell, foreman: Foreman) -> None:
    shell.file("rows.jsonl", "".join(json.dumps([number, line]) + "\n" for number, line in enumerate(RHYME)))
    shell.file("job.py", WORD_COUNT)
    assert pairs(succeeded(foreman("job.py", "--input", "rows.jsonl", "--format", "jsonl"))) == COUNTS


def test_a_job_may_use_modules_beside_it_closures_lambdas_and_globals(shell: Shell, foreman: Foreman) -> None:
    shell.file("words.py", "from letters import SEPARATOR\n\ndef cut(text):\n    return text.split(SEPARATOR)\n")
    shell.file("letters.py", "SEPARATOR = ' '\n")
    job = shell.file(
        "job.py",
        f"""
        import functools
        import string
        import ec262
        import words

        STRIPPED = string.punctuation

        def times(factor):
            return lambda number: factor * number

        def mapper_with(scale):
            def mapper(_key, text):
                for word in words.cut(text):
                    yield word.strip(STRIPPED), scale(1)
            return mapper

        result = ec262.run_job(
            {dict(enumerate(RHYME))},
            mapper=mapper_with(times(10)),
            reducer=lambda word, counts: [(word, functools.reduce(lambda a, b: a + b, counts))],
        )
        print(result)
        """,
    )
    assert ast.literal_eval(succeeded(foreman(job))) == {word: 10 * count for word, count in COUNTS.items()}


def test_a_script_runs_two_jobs_one_on_the_others_result(shell: Shell, network: Network) -> None:
    script = shell.file(
        "script.py",
        f"""
        import ec262

        counts = ec262.run_job(
            {dict(enumerate(RHYME))},
            mapper=lambda _key, text: [(word, 1) for word in text.split()],
            reducer=lambda word, ones: [(word, len(ones))],
            credentials="first",
        )
        by_count = ec262.run_job(
            counts,
            mapper=lambda word, count: [(count, word)],
            reducer=lambda count, words: [(count, sorted(words))],
            credentials="second",
        )
        print(by_count)
        """,
    )
    expected: dict[int, list[str]] = {}
    for word, count in COUNTS.items():
        expected.setdefault(count, []).append(word)
    done = shell.run(script, EC262_DISCOVERY=network.url)
    assert done.status == 0
    assert ast.literal_eval(done.stdout) == {count: sorted(words) for count, words in expected.items()}


WITH_ARGUMENTS = (
    WORD_COUNT
    + """
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    data = {1: "a " * arguments.seed}
"""
)


@pytest.mark.parametrize(("flags", "count"), [([], 1), (["--", "--seed", "5"], 5)])
def test_a_job_parses_its_own_arguments(shell: Shell, foreman: Foreman, flags: list[str], count: int) -> None:
    shell.file("job.py", WITH_ARGUMENTS)
    done = foreman("job.py", "--seed", "7", *flags)
    assert pairs(succeeded(done)) == {"a": count}


def test_arguments_that_the_command_does_not_know_are_an_error_with_a_hint(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", WITH_ARGUMENTS)
    done = foreman("job.py", "--n", "5")
    assert (done.status, done.stdout) == (2, "")
    assert "unrecognized arguments: --n 5; arguments of the job itself go after --" in done.stderr


def test_a_dry_run_without_rows_has_no_price(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", WORD_COUNT + "\n    data = {}\n")
    assert succeeded(foreman("job.py", "--dry-run")) == "the job has no rows: there is nothing to run\n"


def test_no_data_is_no_work(shell: Shell, foreman: Foreman) -> None:
    shell.file("job.py", WORD_COUNT + "\n    data = {}\n")
    assert succeeded(foreman("job.py")) == ""


# --- failures -------------------------------------------------------------------------------------------------------


def test_a_mapper_that_raises_is_shown_with_its_source_and_row(shell: Shell, foreman: Foreman) -> None:
    job = shell.file(
        "job.py",
        """
        import ec262

        def divide(number):
            return 1 // (number - 3)

        @ec262.mapper
        def share(key, number):
            yield key, divide(number)

        @ec262.reducer
        def add_up(key, shares):
            yield key, sum(shares)

        data = {f"row-{number}": number for number in range(6)}
        """,
    )
    done = foreman("job.py", "--output", "out.jsonl")
    assert (done.status, done.stdout) == (1, "")
    assert f'File "{job}", line 4, in divide\n    return 1 // (number - 3)\n' in done.stderr
    assert f'File "{job}", line 8, in share\n    yield key, divide(number)\n' in done.stderr
    assert "ZeroDivisionError: integer division or modulo by zero" in done.stderr
    assert "the mapper raised ZeroDivisionError at the row with key 'row-3'" in done.stderr
    assert list(shell.folder.glob("*out.jsonl*")) == []


def test_functions_that_cannot_be_pickled_are_reported_before_anything_is_bought(
    shell: Shell, foreman: Foreman
) -> None:
    text = WORD_COUNT.replace("import ec262", "import ec262, threading\n    lock = threading.Lock()")
    text = text.replace("for word", "lock.acquire()\n        for word") + "\n    data = {1: 'a b'}\n"
    shell.file("job.py", text)
    done = foreman("job.py")
    assert (done.status, done.stdout) == (2, "")
    assert "lock" in done.stderr
    assert "the mapper (job.py:" in done.stderr
    assert "Traceback" not in done.stderr
    shell.file("good.py", WORD_COUNT + "\n    data = {1: 'a b'}\n")
    assert "of 12," in succeeded(foreman("good.py", "--dry-run"))


def test_an_endless_loop_is_reported_as_a_time_limit(shell: Shell, foreman: Foreman) -> None:
    shell.file(
        "job.py", WORD_COUNT.replace("for word", "while True: pass\n        for word") + "\n    data = {1: 'a b'}\n"
    )
    done = foreman("job.py", "--task-timeout", "1")
    assert (done.status, done.stdout) == (1, "")
    assert re.search(r"map task 1 exceeded its (cpu|wall) limit", done.stderr)
    assert "Traceback" not in done.stderr


def test_a_package_that_no_worker_offers_is_named(shell: Shell, foreman: Foreman) -> None:
    shell.file(
        "job.py", WORD_COUNT.replace("import ec262", "import attr, ec262").replace("text.split()", "attr.__name__")
    )
    shell.file("data.txt", "a b\n")
    done = foreman("job.py", "--input", "data.txt", "--patience", "0.5")
    assert (done.status, done.stdout) == (1, "")
    assert "none offers attr" in done.stderr
    assert "Traceback" not in done.stderr
