"""Peers on the GPU, for bench/cuda. JSON lines in and out:

{"row", "rounds"}: {peer: [ms …] or "why not"}, by device events around groups of runs;
{"list": row}: {peer: "" where it could run here, or why not};
{"versions": true}: {package: version or why it is not there}.

Data are random; outputs that a peer can be handed are filled with NaN before.
"""
import json
import sys

import kernels  # noqa: F401
import torch_rows  # noqa: F401
from peer import missing, rows, versions

try:
    import torch
except ImportError:
    torch = None


def measure(run, rounds):
    for _ in range(3):
        run()
    torch.cuda.synchronize()

    def group(count):
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) / count

    count = max(1, min(1000, int(50 / max(group(1), 1e-3))))
    return [group(count) for _ in range(rounds)]


def answer(pattern, make, needs, request):
    match = pattern.match(request.get("row") or request.get("list"))
    if not match:
        return None
    reason = missing() or (needs() if needs else "")
    if reason or "list" in request:
        return reason
    try:
        values = [float(v) if "." in v else int(v) if v.isdigit() else v for v in match.groups()]
        return measure(make(*values), request["rounds"])
    except Exception as error:  # a peer that fails is told of, ours go on
        return f"{type(error).__name__}: {error}"
    finally:
        torch.cuda.empty_cache()


for line in sys.stdin:
    request = json.loads(line)
    if "versions" in request:
        answers = versions()
    else:
        found = [(name, answer(*row, request)) for name, *row in rows]
        answers = {name: value for name, value in found if value is not None}
    print(json.dumps(answers), flush=True)
