"""The script that a bare interpreter is started with, to become a zygote."""

import gc
import json
import os
import sys

MAX_ORDER_BYTES = 1 << 18

if __name__ == "__main__":
    gc.disable()  # what is loaded now stays
    # Modules want to put locks and generators right in each child. There are no threads here, hence no locks held, and
    # randomness is seeded anew for each row; to do it all the same would be a fifth of the time that a fork takes.
    os.register_at_fork = lambda **_hooks: None
    # What the worker says comes over the socket: jobs may find the arguments of their process in its memory.
    order = json.loads(os.read(int(sys.argv[1]), MAX_ORDER_BYTES))
    sys.path += order.pop("paths")
    from ec262.adapters.sandbox.linux.child.zygote import Zygote

    Zygote(control=int(sys.argv[1])).live(order)
