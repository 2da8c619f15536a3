"""The script that a bare interpreter is started with, to become a zygote."""

import gc
import json
import os
import sys

if __name__ == "__main__":
    gc.disable()  # what is loaded now stays
    # Modules want to put locks and generators right in each child. There are no threads here, hence no locks held, and
    # randomness is seeded anew for each row; to do it all the same would be a fifth of the time that a fork takes.
    os.register_at_fork = lambda **_hooks: None
    order = json.loads(sys.argv[1])
    sys.path += order["paths"]
    from ec262.adapters.sandbox.linux.child.zygote import Zygote

    Zygote(control=order["control"], worker=order["worker"]).live(order["packages"], order["without"])
