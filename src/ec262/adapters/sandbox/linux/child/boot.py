"""The script that a bare interpreter is started with, to become a zygote."""

import gc
import json
import sys

if __name__ == "__main__":
    gc.disable()  # what is loaded now stays
    order = json.loads(sys.argv[1])
    sys.path += order["paths"]
    from ec262.adapters.sandbox.linux.child.zygote import Zygote

    Zygote(control=order["control"], worker=order["worker"]).live(order["packages"])
