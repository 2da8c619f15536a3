"""Load, or keep at hand, all that a job may import: afterwards nothing can be read from disk any more."""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import sys
import time
from collections.abc import Sequence
from types import ModuleType

from ec262.adapters.sandbox.linux.child import refusals, witness
from ec262.adapters.sandbox.linux.child.importable import Library, hide
from ec262.adapters.sandbox.linux.child.threads import ThreadWatch, others
from ec262.adapters.sandbox.log import Log
from ec262.adapters.sandbox.runner import Run

_LOADED = """
    atexit bisect cloudpickle cmath collections copy csv datetime functools hashlib heapq hmac itertools json math
    operator random re select socket string struct textwrap time typing unicodedata _bisect _blake2 _bz2 _codecs_cn
    _codecs_hk _codecs_iso2022 _codecs_jp _codecs_kr _codecs_tw _contextvars _csv _datetime _decimal _elementtree
    _hashlib _heapq _json _lzma _md5 _multibytecodec _opcode _pickle _queue _random _sha1 _sha2 _sha256 _sha3
    _sha512 _statistics _struct _uuid _zoneinfo array binascii pyexpat zlib
"""

_STANDARD = """
    __future__ _collections_abc _compat_pickle _compression _markupbase _opcode_metadata _py_abc _pydatetime
    _pydecimal _strptime _threading_local _weakrefset abc argparse array ast base64 binascii bisect builtins bz2
    calendar cmath codecs collections colorsys configparser contextlib contextvars copy copyreg csv dataclasses
    datetime decimal difflib dis email encodings enum errno fnmatch fractions functools gc genericpath getopt
    gettext glob graphlib gzip hashlib heapq hmac html http importlib inspect io ipaddress itertools json keyword
    linecache locale logging lzma marshal math mimetypes ntpath numbers opcode operator os pathlib pickle
    pickletools platform posix posixpath pprint queue quopri random re reprlib sched secrets selectors shlex shutil
    socketserver sre_compile sre_constants sre_parse stat statistics string stringprep struct sys sysconfig tarfile
    tempfile textwrap threading time timeit token tokenize tomllib traceback types typing unicodedata urllib uuid
    warnings weakref xml zipfile zlib zoneinfo
"""

LOADED = tuple(_LOADED.split())
"""What many jobs want, and what is not Python: shared objects cannot be mapped any more after lock-down. Not every
Python has all of it."""

STANDARD = tuple(_STANDARD.split())
"""The harmless part of the standard library, with all that it imports. Modules for files and the network are in it:
much harmless code imports them, and what a job does with them is refused. The sandbox does not depend on this list, a
clear error does."""

_PLACES = {
    *("executable", "_base_executable", "_home", "_stdlib_dir"),
    *("prefix", "base_prefix", "exec_prefix", "base_exec_prefix"),
}
"""Where Python is installed, as ``sys`` says it: no job can use it."""

_NOT_FOR_JOBS = {"f2py", "test", "testing", "tests"}


def preload(packages: Sequence[str]) -> None:
    """Load what jobs may import, then close all other roads. Raises ImportError naming a package that cannot be loaded,
    or that starts threads."""
    allowed = ", ".join(dict.fromkeys(package.partition(".")[0] for package in packages))
    rule = "jobs may import the harmless part of the standard library" + (
        f" and what this worker allows: {allowed}" if allowed else ""
    )
    library = Library(rule)
    for name in LOADED:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    with ThreadWatch() as watch:
        for package in packages:
            _load_package(package, library)
            _refuse_threads(package, watch.culprits)
    standard = os.path.dirname(os.__file__)  # noqa: PTH120 - pathlib is not worth its import here
    for name in STANDARD:
        library.add(name, standard)
    _warm_up()
    refusals.prepare()
    _close_roads(library)


def _refuse_threads(package: str, culprits: Sequence[str]) -> None:
    """Raise ImportError if there are threads, naming the packages by way of which ``package`` has started them."""
    threads = others()
    if threads:
        way = dict.fromkeys(name.partition(".")[0] for name in culprits)
        way.pop(package.partition(".")[0], None)
        by_way_of = f" by way of {', '.join(way)}" if way else ""
        raise ImportError(
            f"the package {package!r} cannot be allowed: importing it starts a thread{by_way_of} "
            f"({', '.join(threads)}), and tasks cannot be forked from a process with threads. Do without it, or "
            "uninstall the package that starts the thread if it is optional"
        )


def _load_package(package: str, library: Library) -> None:
    """Load a package with the submodules that it lists as public: some packages load them when they are first used,
    and what of them is native code could not be loaded then."""
    try:
        module = importlib.import_module(package)
    except Exception as error:
        raise ImportError(f"the allowed package {package!r} cannot be imported: {error!r}") from error
    for name in sorted(set(getattr(module, "__all__", ())) - _NOT_FOR_JOBS - vars(module).keys()):
        with contextlib.suppress(Exception):  # no module, or one that needs what is not here
            importlib.import_module(f"{package}.{name}")
    for folder in getattr(module, "__path__", ()):
        library.add(package, os.path.dirname(folder))  # noqa: PTH120 - likewise


def _warm_up() -> None:
    """Have everything done once that looks for files at its first use."""
    time.tzset()
    for function in (witness.double, witness.fail):
        Run(phase="map", seed=0, log=Log(0)).compute(pickle.dumps({"mapper": function}), b'[["a",1]]')


def _close_roads(library: Library) -> None:
    harmless = {*STANDARD, *LOADED}
    hide(name for name in sys.stdlib_module_names if name not in harmless and not name.startswith("_"))
    hide(["_ctypes", "_posixsubprocess"])
    sys.meta_path[:] = [library]
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    sys.path.clear()
    # A job's own __main__ travels by value; what is named so here is none of its business.
    sys.modules["__main__"] = ModuleType("__main__")
    sys.argv[:] = [""]
    sys.orig_argv[:] = [""]
    vars(sys).update(dict.fromkeys(_PLACES & vars(sys).keys(), ""))
    os.environ.pop("LD_LIBRARY_PATH", None)  # was there for the interpreter's start
