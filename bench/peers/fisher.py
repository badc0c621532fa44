"""A forward and backward pass in torch, and squares of every example's gradient by torch.func."""
import torch
from peer import peer
from torch import nn
from torch.func import functional_call, grad, vmap


def network(kind):
    if kind == "mlp":
        return nn.Sequential(
            nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        ), (784,)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 10),
    ), (1, 28, 28)


@peer("torch", r"fisher (pass|batch|per-sample) (\w+) (\d+)")
def fisher(match):
    net, shape = network(match[2])
    n = int(match[3])
    x, t = torch.randn(n, *shape), torch.randint(0, 10, (n,))
    average = [torch.zeros_like(p) for p in net.parameters()]

    def backward():
        nn.functional.cross_entropy(net(x), t).backward()
        if match[1] == "batch":
            for f, p in zip(average, net.parameters()):
                f.mul_(0.9).addcmul_(p.grad, p.grad, value=0.1)
        net.zero_grad()

    if match[1] != "per-sample":
        return backward
    parameters = {k: p.detach() for k, p in net.named_parameters()}

    def loss(parameters, x, t):
        return nn.functional.cross_entropy(functional_call(net, parameters, (x[None],)), t[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))

    def squares():
        for f, g in zip(average, each(parameters, x, t).values()):
            f.mul_(0.9).add_(g.square().sum(0), alpha=0.1 / n)

    return squares
