"""Random fills in torch and NumPy."""
import numpy
import torch
from peer import peer


@peer("torch", r"(uniform|normal|integers) (\d+)")
def torch_fill(match):
    x = torch.empty(int(match[2]), dtype=torch.int32 if match[1] == "integers" else torch.float32)
    fills = {"uniform": x.uniform_, "normal": x.normal_, "integers": lambda: x.random_(0, 1000)}
    return fills[match[1]]


@peer("numpy", r"(uniform|normal|integers) (\d+)")
def numpy_fill(match):
    generator = numpy.random.Generator(numpy.random.Philox(1))
    n = int(match[2])
    out = numpy.empty(n, dtype=numpy.float32)
    fills = {
        "uniform": lambda: generator.random(out=out, dtype=numpy.float32),
        "normal": lambda: generator.standard_normal(out=out, dtype=numpy.float32),
        "integers": lambda: generator.integers(0, 1000, n, dtype=numpy.int32),
    }
    return fills[match[1]]


@peer("torch", r"permutation (\d+)")
def torch_permutation(match):
    return lambda: torch.randperm(int(match[1]))


@peer("numpy", r"permutation (\d+)")
def numpy_permutation(match):
    generator = numpy.random.Generator(numpy.random.Philox(1))
    return lambda: generator.permutation(int(match[1]))


@peer("torch", r"dropout (\d+)")
def dropout(match):
    x = torch.randn(int(match[1]))
    return lambda: torch.nn.functional.dropout(x, 0.5)
