"""Newton–Schulz as torch.optim.Muon writes it: products fused with addmm, five steps."""
import torch
from peer import peer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def newton_schulz(g, dtype):
    x = g.to(dtype)
    if g.shape[0] > g.shape[1]:
        x = x.T
    x = x / x.norm()
    for _ in range(5):
        a = x @ x.T
        x = torch.addmm(x, torch.addmm(a, a, a, beta=-4.7750, alpha=2.0315), x, beta=3.4445)
    return x


@peer("torch", r"orthogonality (\d+)x(\d+)")
def orthogonality(match):
    x = torch.randn(int(match[1]), int(match[2]))
    return lambda: newton_schulz(x, torch.bfloat16)


@peer("torch", r"orthogonalize (f32|bf16) (\d+)x(\d+)( decaying)?")
def orthogonalize(match):
    x = torch.randn(int(match[2]), int(match[3]))
    return lambda: newton_schulz(x, DTYPES[match[1]])
