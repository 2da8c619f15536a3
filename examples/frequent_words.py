"""Print the most frequent words in the sources of Python's standard library.

    python -m ec262.entrypoints.foreman examples/frequent_words.py

The functions and the data come from wordcount.py beside this file; this script runs the job and uses its result.
"""

from wordcount import add_up, count_words, data

import ec262

SHOWN = 12
BAR = 40

counts = ec262.run_job(data(), mapper=count_words, combiner=add_up, reducer=add_up)
words = ((word, count) for word, count in counts.items() if len(word) > 2)  # noqa: PLR2004 - "x" and "if" say little
frequent = sorted(words, key=lambda item: (-item[1], item[0]))[:SHOWN]
print(f"{sum(counts.values()):,} words, {len(counts):,} different ones. The most frequent of three letters or more:\n")
for word, count in frequent:
    print(f"{word:>9}  {'█' * round(BAR * count / frequent[0][1])} {count:,}")
