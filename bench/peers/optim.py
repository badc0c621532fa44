"""torch's fused AdamW and torch.optim.Muon, which stands beside NorMuon too."""
import torch
from peer import peer


@peer("torch", r"adamw (\d+)")
def adamw(match):
    p = torch.nn.Parameter(torch.randn(int(match[1])))
    p.grad = torch.randn_like(p)
    return torch.optim.AdamW([p], fused=True).step


@peer("torch", r"(?:nor)?muon (\d+)")
def muon(match):
    shapes = [[768, 768]] * 4 + [[3072, 768], [768, 3072]]
    params = [torch.nn.Parameter(torch.randn(*shape)) for shape in shapes * int(match[1])]
    for p in params:
        p.grad = torch.randn_like(p)
    return torch.optim.Muon(params).step
