"""Another interpreter, which knows nothing of this one's modules."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_elsewhere(data: bytes, folder: Path) -> Any:
    """Load the functions in an interpreter that knows nothing of this one's modules, and map one row."""
    pickle = folder / "functions.pickle"
    pickle.write_bytes(data)
    code = (
        "import json, pickle, pathlib, sys;"
        "functions = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes());"
        "print(json.dumps([list(pair) for pair in functions['mapper'](1, 'a b')]))"
    )
    command = [sys.executable, "-P", "-c", code, str(pickle)]
    return json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)
