"""With this folder on PYTHONPATH, every process fails at the shards that POISON names, parted by `|`.

`POISON_KIND=error` has them raise; else the process dies. Nothing of lensmill knows of this: Python loads a
module of this name by itself.
"""

import os
import signal
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import Any


class Poison(MetaPathFinder):
    """Has `flows.shards` make all shards but some."""

    def find_spec(self, name: str, *_: Any) -> ModuleSpec | None:
        """The module as it is found without us, with one function changed once it is loaded."""
        if name != "flows.shards":
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        assert spec is not None
        loader: Any = spec.loader
        load = loader.exec_module

        def changed(module: Any) -> None:
            load(module)
            make = module.make_shard

            def make_shard(root: Any, recipe: Any, plan: Any, span: Any, *more: Any) -> Any:
                if str(span) in os.environ["POISON"].split("|"):
                    if os.environ.get("POISON_KIND") == "error":
                        raise ZeroDivisionError("division by zero")
                    os.kill(os.getpid(), signal.SIGKILL)
                return make(root, recipe, plan, span, *more)

            module.make_shard = make_shard

        loader.exec_module = changed
        return spec


if "POISON" in os.environ:
    sys.meta_path.insert(0, Poison())
