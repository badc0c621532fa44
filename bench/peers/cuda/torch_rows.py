"""PyTorch itself: eager, compiled, fused."""
from peer import peer, random, torch

KELLER = (3.4445, -4.775, 2.0315)


@peer("torch", r"matmul bf16 (\d+)x(\d+)x(\d+)")
def matmul(m, k, n):
    a, b = random(m, k, dtype=torch.bfloat16), random(k, n, dtype=torch.bfloat16)
    out = torch.full((m, n), float("nan"), device="cuda", dtype=torch.bfloat16)
    return lambda: torch.mm(a, b, out=out)


def newton_schulz(x, dtype):
    a1, b1, c1 = KELLER
    y = x.to(dtype)
    tall = y.size(-2) > y.size(-1)
    y = y.mT if tall else y
    y = y / (y.norm() + 1e-7)
    for _ in range(5):
        a = y @ y.mT
        y = torch.addmm(y, torch.addmm(a, a, a, beta=b1, alpha=c1), y, beta=a1)
    return y.mT if tall else y


@peer("torch", r"orthogonalize bf16 (\d+)x(\d+)")
def orthogonalize(m, n):
    x = random(m, n)
    return lambda: newton_schulz(x, torch.bfloat16)


@peer("torch f16", r"orthogonalize bf16 (\d+)x(\d+)")
def orthogonalize_half(m, n):
    # The norm in float32: squares of float16 overflow.
    x = random(m, n)
    x /= x.norm()
    return lambda: newton_schulz(x, torch.float16)


@peer("torch compiled", r"orthogonalize bf16 (\d+)x(\d+)")
def orthogonalize_compiled(m, n):
    x = random(m, n)
    compiled = torch.compile(newton_schulz)
    return lambda: compiled(x, torch.bfloat16)


def hidden_matrices(layers, width):
    shapes = 4 * [(width, width)] + [(4 * width, width), (width, 4 * width)]
    params = [torch.nn.Parameter(random(*shape)) for _ in range(layers) for shape in shapes]
    for p in params:
        p.grad = random(*p.shape)
    return params


@peer("torch", r"(?:nor)?muon (\d+) (\d+)")
def muon(layers, width):
    return torch.optim.Muon(hidden_matrices(layers, width), lr=1e-3).step


@peer("torch compiled", r"(?:nor)?muon (\d+) (\d+)")
def muon_compiled(layers, width):
    optimizer = torch.optim.Muon(hidden_matrices(layers, width), lr=1e-3)
    return torch.compile(lambda: optimizer.step())


@peer("torch", r"randomizedSvd (\d+)x(\d+) (\d+)")
def svd(m, n, rank):
    x = random(m, n)
    return lambda: torch.svd_lowrank(x, q=rank + 10, niter=2)


@peer("torch", r"topk (\d+) ([\d.]+)")
def topk(n, density):
    x = random(n)
    k = round(n * density)
    return lambda: torch.topk(x.abs(), k, sorted=False)


@peer("torch fused", r"adamw (\d+) (\d+)")
def adamw(n, tensors):
    params = [torch.nn.Parameter(random(n // tensors)) for _ in range(tensors)]
    for p in params:
        p.grad = random(n // tensors)
    return torch.optim.AdamW(params, lr=1e-3, fused=True).step


# ---- training steps ---------------------------------------------------------------------------------


def training(net, loss, optimizer):
    def run():
        loss(net).backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


def mlp_parts(kind, dims, batch):
    dims = [int(d) for d in dims.split("-")]
    layers = []
    for i in range(1, len(dims)):
        layers += [torch.nn.Linear(dims[i - 1], dims[i]), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1]).cuda()
    optimizer = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}[kind](net.parameters(), lr=1e-3)
    x, t = random(batch, dims[0]), torch.randint(0, dims[-1], (batch,), device="cuda")
    return net, lambda f: torch.nn.functional.cross_entropy(f(x), t), optimizer


MLP = r"train (sgd|adamw) ([\d-]+) (\d+)"
GPT = r"train gpt (\d+)x(\d+) (\d+) (\d+)"


@peer("torch", MLP)
def mlp(kind, dims, batch):
    return training(*mlp_parts(kind, dims, batch))


@peer("torch compiled", MLP)
def mlp_compiled(kind, dims, batch):
    net, loss, optimizer = mlp_parts(kind, dims, batch)
    return training(torch.compile(net), loss, optimizer)


def gpt_parts(layers, width, context, batch):
    nn, F, vocabulary, heads = torch.nn, torch.nn.functional, 256, max(1, width // 64)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp1, self.mlp2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            b, n, w = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(b, n, 3, heads, w // heads).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, n, w))
            return x + self.mlp2(F.gelu(self.mlp1(self.norm2(x)), approximate="tanh"))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)

        def forward(self, x):
            h = self.tokens(x) + self.positions(torch.arange(x.shape[1], device=x.device))
            return self.norm(self.blocks(h)) @ self.tokens.weight.T

    net = Gpt().cuda()
    x = torch.randint(0, vocabulary, (batch, context), device="cuda")
    t = torch.randint(0, vocabulary, (batch * context,), device="cuda")
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
    return net, lambda f: F.cross_entropy(f(x).view(-1, vocabulary), t), optimizer


@peer("torch", GPT)
def gpt(layers, width, context, batch):
    return training(*gpt_parts(layers, width, context, batch))


@peer("torch compiled", GPT)
def gpt_compiled(layers, width, context, batch):
    net, loss, optimizer = gpt_parts(layers, width, context, batch)
    return training(torch.compile(net), loss, optimizer)
