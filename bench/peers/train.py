"""Training steps of torch in eager mode."""
import torch
import torch.nn.functional as F
from peer import peer

OPTIMIZERS = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}


@peer("torch", r"train (sgd|adamw) ([\d-]+) (\d+)")
def mlp(match):
    dims = [int(d) for d in match[2].split("-")]
    layers = []
    for i in range(1, len(dims)):
        layers.append(torch.nn.Linear(dims[i - 1], dims[i]))
        if i < len(dims) - 1:
            layers.append(torch.nn.ReLU())
    net = torch.nn.Sequential(*layers)
    optimizer = OPTIMIZERS[match[1]](net.parameters(), lr=1e-3)
    x, t = torch.randn(int(match[3]), dims[0]), torch.randint(0, dims[-1], (int(match[3]),))

    def step():
        F.cross_entropy(net(x), t).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step
