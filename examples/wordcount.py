"""Count words: the "hello, world" of MapReduce.

    python -m ec262.entrypoints.foreman examples/wordcount.py
    python -m ec262.entrypoints.foreman examples/wordcount.py --input a.txt b.txt --format file --output counts.jsonl

Without --input it counts the words in the sources of this Python's own standard library.
"""

import re
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

import ec262

WORD = re.compile(r"[^\W\d_]+")


@ec262.mapper
def count_words(_name: object, text: str) -> Iterator[tuple[str, int]]:
    for word in WORD.findall(text.lower()):
        yield word, 1


@ec262.combiner
@ec262.reducer
def add_up(word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
    yield word, sum(counts)


def data() -> Iterator[tuple[str, str]]:
    """The standard library's own modules, one row each."""
    library = Path(sysconfig.get_path("stdlib"))
    for file in sorted(library.rglob("*.py")):
        if not {"site-packages", "dist-packages", "test", "tests", "idlelib", "lib2to3"} & set(file.parts):
            yield str(file.relative_to(library)), file.read_text(encoding="utf-8", errors="replace")
