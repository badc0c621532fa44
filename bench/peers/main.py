"""The Python peers: make their own random data, run one row at a time when told.

Reads JSON lines {"library", "row", "threads", "rounds"}; answers {"ms": [...]} or {"skipped": "why"}.
"""
import importlib
import json
import os
import pathlib
import sys
import time

import peer as registry

missing = {}
for library, module in {"torch": "torch", "sklearn": "sklearn", "numpy": "numpy", "peft": "peft"}.items():
    try:
        importlib.import_module(module)
    except ImportError as error:
        missing[library] = str(error)

here = pathlib.Path(__file__).parent
families = {}
for path in sorted(here.glob("*.py")):
    if path.stem in ("main", "peer", "memory"):  # memory.py is a script of its own
        continue
    try:
        importlib.import_module(path.stem)
    except ImportError as error:
        families[path.stem] = str(error)


def limit_threads(threads):
    if "torch" not in missing:
        sys.modules["torch"].set_num_threads(threads)
    try:
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
    except ImportError:
        os.environ["OMP_NUM_THREADS"] = str(threads)


state = {}
for line in sys.stdin:
    request = json.loads(line)
    library, row = request["library"], request["row"]
    make = registry.find(library, row)
    if library in missing:
        answer = {"skipped": missing[library]}
    elif make is None:
        answer = {"skipped": None}
    else:
        try:
            if state.get("key") != (library, row):
                state = {}
                limit_threads(request["threads"])
                state = {"key": (library, row), "run": make()}
                state["run"]()
            times = []
            for _ in range(request["rounds"]):
                begin = time.perf_counter()
                state["run"]()
                times.append((time.perf_counter() - begin) * 1e3)
            answer = {"ms": times}
        except Exception as error:  # a peer that fails is told of, ours go on
            state = {}
            answer = {"skipped": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
