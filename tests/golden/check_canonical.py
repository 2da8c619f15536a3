"""Compare canonical bytes with the golden ones, under whatever Python runs this; no dependency need be installed.

Usage: check_canonical.py SOURCE_DIRECTORY. Prints what differs, and how many examples agree.
"""

import json
import sys
import types
from pathlib import Path


def main(source: Path) -> int:
    # The package without its __init__, which imports what another Python may not have installed.
    package = types.ModuleType("ec262")
    package.__path__ = [str(source / "ec262")]
    sys.modules["ec262"] = package
    from ec262.domain.values import canonical

    examples = json.loads(Path(__file__).with_name("canonical-v1.json").read_text(encoding="utf-8"))
    differing = 0
    for expression, text in examples:
        value = eval(expression)  # noqa: S307 - our own committed examples
        golden = text.encode()
        if canonical.encode(value) != golden or canonical.encode(canonical.decode(golden)) != golden:
            print(f"{expression}: {canonical.encode(value)!r}, golden {golden!r}")
            differing += 1
    print(f"{len(examples) - differing} of {len(examples)} agree")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
