"""The Python peer of the benchmarks: makes its own random data, runs one row at a time when told.

Reads JSON lines {"row", "threads", "rounds"}; answers {"ms": [...]} or {"skipped": "why"}.
"""
import json
import sys
import time

try:
    import torch
    import torch.nn.functional as F

    missing = None
except ImportError as error:
    missing = str(error)

state = {}


def newton_schulz(g, dtype):
    x = g.to(dtype)
    if g.shape[0] > g.shape[1]:
        x = x.T
    x = x / x.norm()
    for _ in range(5):
        a = x @ x.T
        x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


def trainer(dims, batch, make):
    layers = []
    for i in range(1, len(dims)):
        layers.append(torch.nn.Linear(dims[i - 1], dims[i]))
        if i < len(dims) - 1:
            layers.append(torch.nn.ReLU())
    net = torch.nn.Sequential(*layers)
    optimizer = make(net.parameters())
    x, t = torch.randn(batch, dims[0]), torch.randint(0, dims[-1], (batch,))

    def step():
        F.cross_entropy(net(x), t).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def make(row):
    kind, *rest = row.split(" ")
    if kind == "matmul":
        dtype = torch.float32 if rest[0] == "f32" else torch.bfloat16
        m, k, n = map(int, rest[1].split("x"))
        a, b, out = torch.randn(m, k).to(dtype), torch.randn(k, n).to(dtype), torch.empty(m, n, dtype=dtype)
        return lambda: torch.mm(a, b, out=out)
    if kind == "orthogonalize":
        dtype = torch.float32 if rest[0] == "f32" else torch.bfloat16
        x = torch.randn(*map(int, rest[1].split("x")))
        return lambda: newton_schulz(x, dtype)
    if kind == "adamw":
        p = torch.nn.Parameter(torch.randn(int(rest[0])))
        p.grad = torch.randn_like(p)
        optimizer = torch.optim.AdamW([p], fused=True)
        return optimizer.step
    if kind == "muon":
        shapes = [[768, 768]] * 4 + [[3072, 768], [768, 3072]]
        params = [torch.nn.Parameter(torch.randn(*s)) for s in shapes * int(rest[0])]
        for p in params:
            p.grad = torch.randn_like(p)
        return torch.optim.Muon(params).step
    if kind == "train":
        dims = [int(d) for d in rest[1].split("-")]
        optimizer = torch.optim.SGD if rest[0] == "sgd" else torch.optim.AdamW
        return trainer(dims, int(rest[2]), lambda p: optimizer(p, lr=1e-3))
    raise KeyError(row)


for line in sys.stdin:
    request = json.loads(line)
    if missing:
        answer = {"skipped": missing}
    else:
        torch.set_num_threads(request["threads"])
        try:
            if state.get("row") != request["row"]:
                state = {"row": request["row"], "run": make(request["row"])}
                state["run"]()
            times = []
            for _ in range(request["rounds"]):
                begin = time.perf_counter()
                state["run"]()
                times.append((time.perf_counter() - begin) * 1e3)
            answer = {"ms": times}
        except KeyError:
            answer = {"skipped": "no such row in this peer"}
    print(json.dumps(answer), flush=True)
