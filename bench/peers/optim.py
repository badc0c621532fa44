"""torch's fused AdamW and SGD, a masked step, a Fisher average, torch.optim.Muon (beside NorMuon too)."""
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


@peer("torch", r"sgd (\d+)")
def sgd(match):
    p = torch.nn.Parameter(torch.randn(int(match[1])))
    p.grad = torch.randn_like(p)
    return torch.optim.SGD([p], lr=1e-3, momentum=0.9, fused=True).step


@peer("torch", r"masked adamw (\d+) ([\d.]+)")
def masked_adamw(match):
    p = torch.nn.Parameter(torch.randn(int(match[1])))
    grad = torch.randn_like(p)
    mask = (torch.rand_like(grad) < float(match[2])).float()
    p.grad = torch.empty_like(grad)
    step = torch.optim.AdamW([p], fused=True).step

    def run():
        torch.mul(grad, mask, out=p.grad)
        step()

    return run


@peer("torch", r"fisher (\d+)")
def fisher(match):
    f, g = torch.zeros(int(match[1])), torch.randn(int(match[1]))
    return lambda: f.mul_(0.9).addcmul_(g, g, value=0.1)
