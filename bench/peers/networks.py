"""Training steps of a conv net, a GPT and a ViT, and a convolution, in torch's eager mode."""
import torch
import torch.nn.functional as F
from peer import peer
from torch import nn


def step(net, loss):
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)

    def run():
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return run


@peer("torch", r"train convnet 28x28 (\d+)")
def conv_net(match):
    batch = int(match[1])
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64 * 14 * 14, 128), nn.ReLU(), nn.Linear(128, 10),
    )
    x, t = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))
    return step(net, lambda: F.cross_entropy(net(x), t))


class Block(nn.Module):
    def __init__(self, width, heads, causal, approximate):
        super().__init__()
        self.heads, self.causal, self.approximate = heads, causal, approximate
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp1, self.mlp2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        b, n, w = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, n, 3, self.heads, w // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(y.transpose(1, 2).reshape(b, n, w))
        hidden = F.gelu(self.mlp1(self.norm2(x)), approximate=self.approximate)
        return x + self.mlp2(hidden)


class Gpt(nn.Module):
    def __init__(self, layers, width, context):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(256, width), nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, 4, True, "tanh") for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        h = self.tokens(x) + self.positions(torch.arange(x.shape[1]))
        return self.norm(self.blocks(h)) @ self.tokens.weight.T


@peer("torch", r"train gpt (\d+)x(\d+) (\d+) (\d+)")
def gpt(match):
    layers, width, context, batch = map(int, match.groups())
    net = Gpt(layers, width, context)
    x = torch.randint(0, 256, (batch, context))
    t = torch.randint(0, 256, (batch * context,))
    return step(net, lambda: F.cross_entropy(net(x).view(-1, 256), t))


class Vit(nn.Module):
    def __init__(self, layers, width):
        super().__init__()
        self.patches, self.head = nn.Linear(16, width), nn.Linear(width, 10)
        self.positions = nn.Parameter(torch.randn(1, 49, width) * 0.02)
        self.blocks = nn.Sequential(*[Block(width, 3, False, "none") for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, x):
        patches = x.view(-1, 7, 4, 7, 4).permute(0, 1, 3, 2, 4).reshape(-1, 49, 16)
        h = self.blocks(self.patches(patches) + self.positions)
        return self.head(self.norm(h).mean(1))


@peer("torch", r"train vit (\d+)x(\d+) 49 (\d+)")
def vit(match):
    layers, width, batch = map(int, match.groups())
    net = Vit(layers, width)
    x, t = torch.randn(batch, 1, 28, 28), torch.randint(0, 10, (batch,))
    return step(net, lambda: F.cross_entropy(net(x), t))


@peer("torch", r"conv 3x3 (\d+)-(\d+) (\d+)x(\d+) (\d+)")
def convolution(match):
    inputs, outputs, h, w, batch = map(int, match.groups())
    layer = nn.Conv2d(inputs, outputs, 3, padding=1)
    x = torch.randn(batch, inputs, h, w, requires_grad=True)
    g = torch.randn(batch, outputs, h, w)

    def run():
        layer(x).backward(g)
        layer.zero_grad()
        x.grad = None

    return run
