"""The example of 2012: count the words of a rhyme.

python examples/humpty_dumpty.py
python -m ec262.entrypoints.foreman examples/humpty_dumpty.py --discovery http://host:26262
"""

from collections.abc import Iterable, Iterator

import ec262

RHYME = [
    "Humpty Dumpty sat on a wall",
    "Humpty Dumpty had a great fall",
    "All the King's horses and all the King's men",
    "Couldn't put Humpty together again",
]


@ec262.mapper
def split_words(_line: int, text: str) -> Iterator[tuple[str, int]]:
    for word in text.split():
        yield word, 1


@ec262.reducer
def add_up(word: str, counts: Iterable[int]) -> Iterator[tuple[str, int]]:
    yield word, sum(counts)


if __name__ == "__main__":
    counts = ec262.run_job(dict(enumerate(RHYME)))
    for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        print(f"{count}  {word}")
