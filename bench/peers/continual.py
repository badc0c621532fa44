"""Five tasks of permuted inputs, an MLP, experience replay with 200 examples, in PyTorch.

The same loop as lib/continual's: every batch is joined by as many examples from a reservoir, SGD 0.1; before
the first task, and after every task, accuracy on the tasks so far and the next.
"""
import random

import torch
import torch.nn.functional as F
from peer import peer

MEMORY = 200


@peer("torch", r"continual er 784-256-256-10 5x(\d+) (\d+)\+\d+")
def er(match):
    n, batch = int(match[1]), int(match[2])
    train = torch.randn(n, 784), torch.randint(0, 10, (n,))
    test = torch.randn(n // 4, 784), torch.randint(0, 10, (n // 4,))
    orders = [torch.arange(784)] + [torch.randperm(784) for _ in range(4)]

    @torch.no_grad()
    def accuracy(net, order):
        x, hits = test[0][:, order], 0
        for at in range(0, len(x), 512):
            hits += (net(x[at : at + 512]).argmax(1) == test[1][at : at + 512]).sum().item()
        return hits / len(x)

    def run():
        net = torch.nn.Sequential(
            torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10)
        )
        memory_x, memory_y, seen = torch.empty(MEMORY, 784), torch.empty(MEMORY, dtype=torch.long), 0
        [accuracy(net, order) for order in orders]
        for task, order in enumerate(orders):
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
            data, labels = train[0][:, order], train[1]
            shuffled = torch.randperm(n)
            for at in range(0, n, batch):
                rows = shuffled[at : at + batch]
                x, y = data[rows], labels[rows]
                inputs, targets = x, y
                if seen:
                    old = torch.randperm(min(seen, MEMORY))[: len(rows)]
                    inputs, targets = torch.cat([x, memory_x[old]]), torch.cat([y, memory_y[old]])
                F.cross_entropy(net(inputs), targets).backward()
                optimizer.step()
                optimizer.zero_grad()
                # Where each example of the batch goes; a later one may take an earlier one's place.
                slots = {}
                for i in range(len(rows)):
                    seen += 1
                    slot = seen - 1 if seen <= MEMORY else random.randrange(seen)
                    if slot < MEMORY:
                        slots[slot] = i
                if slots:
                    to, source = torch.tensor(list(slots)), torch.tensor(list(slots.values()))
                    memory_x[to], memory_y[to] = x[source], y[source]
            [accuracy(net, o) for o in orders[: task + 2]]

    return run
