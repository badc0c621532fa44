"""Layers alone, forward and backward, in torch's eager mode."""
import torch
import torch.nn.functional as F
from peer import peer
from torch import nn


def leaf(*shape):
    return torch.randn(*shape, requires_grad=True)


def back(leaves, forward, g=None):
    def run():
        forward().backward(g)
        for x in leaves:
            x.grad = None

    return run


@peer("torch", r"(layer|rms) norm (\d+)x(\d+)")
def norm(match):
    rows, width = int(match[2]), int(match[3])
    x, w, b = leaf(rows, width), leaf(width), leaf(width)
    forward = (lambda: F.layer_norm(x, (width,), w, b)) if match[1] == "layer" else (lambda: F.rms_norm(x, (width,), w))
    return back([x, w, b], forward, torch.randn(rows, width))


@peer("torch", r"softmax (\d+)x(\d+)")
def softmax(match):
    shape = int(match[1]), int(match[2])
    x = leaf(*shape)
    return back([x], lambda: x.softmax(-1), torch.randn(*shape))


@peer("torch", r"cross-entropy (\d+)x(\d+)")
def cross_entropy(match):
    rows, classes = int(match[1]), int(match[2])
    x, t = leaf(rows, classes), torch.randint(0, classes, (rows,))
    return back([x], lambda: F.cross_entropy(x, t))


@peer("torch", r"gelu (\d+)")
def gelu(match):
    x = leaf(int(match[1]))
    return back([x], lambda: F.gelu(x), torch.randn(int(match[1])))


@peer("torch", r"attention (\d+)x(\d+)x(\d+)x(\d+)( causal)?")
def attention(match):
    shape = [int(match[i]) for i in range(1, 5)]
    q, k, v = leaf(*shape), leaf(*shape), leaf(*shape)
    forward = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=match[5] is not None)
    return back([q, k, v], forward, torch.randn(*shape))


@peer("torch", r"embedding (\d+)x(\d+) (\d+)")
def embedding(match):
    words, width, count = map(int, match.groups())
    table, index = leaf(words, width), torch.randint(0, words, (count,))
    return back([table], lambda: F.embedding(index, table), torch.randn(count, width))


@peer("torch", r"scan (\d+)x(\d+)x(\d+) (\d+)")
def scan(match):
    """A loop over time in tensor operations, as the reference implementation of Mamba: torch has no kernel for CPUs."""
    batch, time, channels, states = map(int, match.groups())
    u, b, c = leaf(batch, time, channels), leaf(batch, time, states), leaf(batch, time, states)
    steps = torch.randn(batch, time, channels).mul(0.1).square().requires_grad_()
    a = torch.randn(channels, states).square().neg().requires_grad_()

    def forward():
        decay = torch.exp(steps.unsqueeze(-1) * a)
        fresh = (steps * u).unsqueeze(-1) * b.unsqueeze(2)
        h, ys = torch.zeros(batch, channels, states), []
        for t in range(time):
            h = decay[:, t] * h + fresh[:, t]
            ys.append((h * c[:, t].unsqueeze(1)).sum(-1))
        return torch.stack(ys, 1)

    return back([u, steps, a, b, c], forward, torch.randn(batch, time, channels))


@peer("torch", r"max pool (\d+)x(\d+)x(\d+)x(\d+)")
def max_pool(match):
    n, channels, h, w = map(int, match.groups())
    x = leaf(n, channels, h, w)
    return back([x], lambda: F.max_pool2d(x, 2), torch.randn(n, channels, h // 2, w // 2))


@peer("torch", r"conv (\d+)x\d+/(\d+) (\d+)-(\d+) groups (\d+) (\d+)x\d+ (\d+)")
def convolution(match):
    kernel, stride, inputs, outputs, groups, size, batch = map(int, match.groups())
    layer = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups)
    x, g = leaf(batch, inputs, size, size), torch.randn(batch, outputs, size // stride, size // stride)
    return back([x, *layer.parameters()], lambda: layer(x), g)
