"""PyTorch on the GPU, for bench/cuda: JSON lines {"row", "rounds"} in, {peer: [ms …] or "why not"} out.

Times are device events around a group of runs, divided by their number. Data are random; outputs that a
peer can be handed are filled with NaN before.
"""
import json
import re
import sys

try:
    import torch

    missing = None if torch.cuda.is_available() else "torch sees no GPU"
except ImportError as error:
    missing = str(error)

rows = []


def peer(name, pattern):
    def add(make):
        rows.append((name, re.compile(pattern + "$"), make))
        return make

    return add


def random(*shape, dtype=None):
    return torch.randn(*shape, device="cuda", dtype=dtype or torch.float32)


@peer("torch", r"matmul bf16 (\d+)x(\d+)x(\d+)")
def matmul(m, k, n):
    a, b = random(m, k, dtype=torch.bfloat16), random(k, n, dtype=torch.bfloat16)
    out = torch.full((m, n), float("nan"), device="cuda", dtype=torch.bfloat16)
    return lambda: torch.mm(a, b, out=out)


def newton_schulz(x):
    y = x.to(torch.bfloat16)
    tall = y.size(-2) > y.size(-1)
    y = y.mT if tall else y
    y = y / (y.norm() + 1e-7)
    for _ in range(5):
        a = y @ y.mT
        y = torch.addmm(y, torch.addmm(a, a, a, beta=-4.775, alpha=2.0315), y, beta=3.4445)
    return y.mT if tall else y


@peer("torch", r"orthogonalize bf16 (\d+)x(\d+)")
def orthogonalize(m, n):
    x = random(m, n)
    return lambda: newton_schulz(x)


@peer("torch compiled", r"orthogonalize bf16 (\d+)x(\d+)")
def orthogonalize_compiled(m, n):
    x = random(m, n)
    compiled = torch.compile(newton_schulz)
    return lambda: compiled(x)


def muon_optimizer(layers, width):
    shapes = 4 * [(width, width)] + [(4 * width, width), (width, 4 * width)]
    params = [torch.nn.Parameter(random(*shape)) for _ in range(layers) for shape in shapes]
    for p in params:
        p.grad = random(*p.shape)
    return torch.optim.Muon(params, lr=1e-3)


@peer("torch", r"(?:nor)?muon (\d+) (\d+)")
def muon(layers, width):
    return muon_optimizer(layers, width).step


@peer("torch compiled", r"(?:nor)?muon (\d+) (\d+)")
def muon_compiled(layers, width):
    optimizer = muon_optimizer(layers, width)
    return torch.compile(lambda: optimizer.step())


@peer("torch", r"randomizedSvd (\d+)x(\d+) (\d+)")
def svd(m, n, rank):
    x = random(m, n)
    return lambda: torch.svd_lowrank(x, q=rank + 10, niter=2)


@peer("torch", r"topk (\d+) ([\d.]+)")
def topk(n, density):
    x = random(int(n))
    k = round(n * float(density))
    return lambda: torch.topk(x.abs(), k, sorted=False)


@peer("torch fused", r"adamw (\d+) (\d+)")
def adamw(n, tensors):
    params = [torch.nn.Parameter(random(n // tensors)) for _ in range(tensors)]
    for p in params:
        p.grad = random(n // tensors)
    return torch.optim.AdamW(params, lr=1e-3, fused=True).step


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


for line in sys.stdin:
    request = json.loads(line)
    answers = {}
    for name, pattern, make in rows:
        match = pattern.match(request["row"])
        if not match:
            continue
        if missing:
            answers[name] = missing
            continue
        try:
            values = [float(v) if "." in v else int(v) for v in match.groups()]
            answers[name] = measure(make(*values), request["rounds"])
        except Exception as error:  # a peer that fails is told of, ours go on
            answers[name] = f"{type(error).__name__}: {error}"
        torch.cuda.empty_cache()
    print(json.dumps(answers), flush=True)
