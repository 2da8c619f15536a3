"""``python -m ec262.entrypoints.simulate``: simulate what verification rules cost and how often they accept wrong
results, against several kinds of saboteurs and compared with the policies of other systems.

Exit status: 0 done, 1 its output cannot be written, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM; after the
last two, none of its processes is left.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ec262.entrypoints.shared.command import run
from ec262.entrypoints.shared.interruption import terminated_as_interrupted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return run(lambda: _main(argv))


def _main(argv: Sequence[str] | None) -> int:
    with terminated_as_interrupted():
        from ec262.entrypoints.simulate.simulation_command import run_command

        return run_command(argv, description=__doc__)


if __name__ == "__main__":
    sys.exit(main())
