"""Another checkout of this package beside the installed one, so that both run in the same process."""

import importlib
import sys


def load_version(path):
    """The package `sknw` of the checkout at `path`, a module; `import sknw` still means the one that was there."""
    ours = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "sknw"}
    sys.path.insert(0, str(path))
    try:
        return importlib.import_module("sknw")
    finally:
        sys.path.remove(str(path))
        for name in [name for name in sys.modules if name.split(".")[0] == "sknw"]:
            del sys.modules[name]
        sys.modules |= ours
