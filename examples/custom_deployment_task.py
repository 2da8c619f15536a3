"""One task in a plain process, started by custom_deployment.py; do not run it by hand.

    custom_deployment_task.py PHASE SEED ROUND_FLOATS LOG_BYTES FUNCTIONS_BYTES

Standard input has the functions and the rows; standard output gets the size of the outcome, the outcome and the log.
"""

import sys

from ec262.adapters.sandbox.log import Log, printing_to
from ec262.adapters.sandbox.runner import Run


def main(phase: str, seed: str, round_floats: str, log_bytes: str, functions_bytes: str) -> None:
    """Compute the task."""
    functions, rows = sys.stdin.buffer.read(int(functions_bytes)), sys.stdin.buffer.read()
    log = Log(int(log_bytes))
    with printing_to(log):
        run = Run(phase=phase, seed=int(seed), log=log, round_floats=int(round_floats))
        outcome = run.compute(functions, rows)
    sys.stdout.buffer.write(len(outcome).to_bytes(8, "big") + outcome + log.content())


if __name__ == "__main__":
    main(*sys.argv[1:])
