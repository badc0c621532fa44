"""Masks by torch.topk, torch.kthvalue and numpy.partition; mask algebra on byte masks."""
import numpy
import torch
from peer import peer


@peer("torch", r"topk (?:mask|global) (\d+) ([\d.]+)")
def topk(match):
    x = torch.randn(int(match[1])).abs_()
    k = round(float(match[2]) * x.numel())

    def by_topk():
        mask = torch.zeros(x.numel(), dtype=torch.bool)
        mask[torch.topk(x, k, sorted=False).indices] = True

    def by_kth():
        return x >= torch.kthvalue(x, x.numel() - k + 1).values

    return min((by_topk, by_kth), key=seconds)


def seconds(run):
    import time

    run()
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


@peer("numpy", r"topk (?:mask|global) (\d+) ([\d.]+)")
def partition(match):
    x = numpy.abs(numpy.random.randn(int(match[1])).astype("float32"))
    k = round(float(match[2]) * x.size)
    return lambda: x >= numpy.partition(x, x.size - k)[x.size - k]


@peer("torch", r"2:4 mask (\d+)")
def two_of_four(match):
    x = torch.randn(int(match[1])).abs_().reshape(-1, 4)

    def run():
        mask = torch.zeros_like(x, dtype=torch.bool)
        mask.scatter_(1, torch.topk(x, 2, dim=1, sorted=False).indices, True)

    return run


@peer("torch", r"mask and (\d+)")
def logical_and(match):
    a, b = (torch.rand(int(match[1])) < 0.5 for _ in range(2))
    return lambda: a & b


@peer("torch", r"mask count (\d+)")
def count(match):
    a = torch.rand(int(match[1])) < 0.5
    return lambda: a.sum()


@peer("torch", r"mask apply (\d+)")
def apply(match):
    x, mask = torch.randn(int(match[1])), torch.rand(int(match[1])) < 0.1
    return lambda: x * mask
