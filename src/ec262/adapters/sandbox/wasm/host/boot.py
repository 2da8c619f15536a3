"""The script that a bare interpreter is started with, to become a host."""

import json
import sys
from types import ModuleType

if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    sys.path += order["paths"]
    # The package's own front door would load half of the program.
    package = sys.modules["ec262"] = ModuleType("ec262")
    package.__path__ = [order["package"]]
    from ec262.adapters.sandbox.wasm.host.main import main

    main()
