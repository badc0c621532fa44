"""How a peer on the GPU is registered, and what is there."""
import importlib
import importlib.metadata
import re

try:
    import torch
except ImportError as error:
    torch = None
    reason = str(error)

rows = []


def peer(name, pattern, needs=None):
    """The function is given the pattern's groups and returns a callable. `needs()`: "" or why it cannot run."""

    def add(make):
        rows.append((name, re.compile(pattern + "$"), make, needs))
        return make

    return add


def missing():
    """Why nothing can run, or "" ."""
    if torch is None:
        return reason
    return "" if torch.cuda.is_available() else "torch sees no GPU"


def module(name):
    """For `needs`: whether a module can be imported."""

    def check():
        try:
            importlib.import_module(name)
            return ""
        except Exception as error:  # a package may also fail for want of its compiler or card
            return f"{name}: {type(error).__name__}: {error}"

    return check


def versions():
    found = {}
    for name in ["torch", "triton", "dion", "gram-newton-schulz", "quack-kernels"]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def random(*shape, dtype=None):
    return torch.randn(*shape, device="cuda", dtype=dtype or torch.float32)
