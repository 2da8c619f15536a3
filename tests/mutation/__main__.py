"""``python -m tests.mutation``: break every rule in turn, and see whether some test notices.

Exits with 1 if a mutant survives, with 2 if one cannot be judged.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

from tests.mutation import rules_2012, rules_v1
from tests.mutation.laboratory import Laboratory, NoVerdict
from tests.mutation.mutant import Mutant

TREE = Path(__file__).parents[2]
ALL: tuple[Mutant, ...] = (*rules_v1.MUTANTS, *rules_2012.MUTANTS)


def main(arguments: list[str] | None = None) -> int:
    """Run the mutants that are asked for, print what killed each, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--only", metavar="TEXT", default="", help="only mutants with this in their rule or file")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="how many at once (default: 2)")
    parser.add_argument("--sample", metavar="N", type=int, help="only so many, drawn by lot")
    parser.add_argument("--list", action="store_true", help="only tell what there is")
    options = parser.parse_args(arguments)
    mutants = [mutant for mutant in ALL if options.only in mutant.rule or options.only in mutant.file]
    if options.sample is not None:
        mutants = random.sample(mutants, min(options.sample, len(mutants)))
    if options.list:
        for mutant in mutants:
            print(f"{mutant.rule} | {mutant.file}")
        return 0
    started, survivors = time.monotonic(), 0
    print("| rule | file | killed by |\n|---|---|---|")
    try:
        for fate in Laboratory(TREE, jobs=options.jobs).judge(mutants):
            survivors += not fate.killer
            file, killer = fate.mutant.file.removeprefix("src/ec262/"), fate.killer.removeprefix("tests/")
            print(f"| {fate.mutant.rule} | `{file}` | {f'`{killer}`' if killer else '**SURVIVED**'} |", flush=True)
    except NoVerdict as error:
        print(error, file=sys.stderr)
        return 2
    print(f"\n{len(mutants)} mutants, {survivors} survived, {time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
