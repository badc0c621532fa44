"""Other people's kernels for Newton–Schulz and Muon, called through their own packages where those are installed.

dion (github.com/microsoft/dion: dion.newton_schulz_triton, dion.Muon, dion.NorMuon), gram-newton-schulz
(github.com/Dao-AILab/gram-newton-schulz; its kernels are quack's), and a checkout of modded-nanogpt
(github.com/KellerJordan/modded-nanogpt: triton_kernels.py) whose folder PALIMPSEST_MODDED_NANOGPT names.
"""
import os
import sys

from peer import module, peer, random, torch
from torch_rows import KELLER, hidden_matrices

SHAPE = r"orthogonalize bf16 (\d+)x(\d+)"
STEP = r"{} (\d+) (\d+)"


@peer("dion triton", SHAPE, module("dion.newton_schulz_triton"))
def dion(m, n):
    from dion.newton_schulz_triton import newton_schulz_triton

    x = random(m, n)
    return lambda: newton_schulz_triton(x)


@peer("dion triton fast (4 steps)", SHAPE, module("dion.newton_schulz_triton"))
def dion_fast(m, n):
    from dion.newton_schulz_triton import newton_schulz_triton_fast

    x = random(m, n)
    return lambda: newton_schulz_triton_fast(x)


def both(*names):
    def check():
        return next((reason for reason in (module(name)() for name in names) if reason), "")

    return check


def gram(cls, m, n, **options):
    x = random(m, n)
    run = cls(ns_coefficients=[list(KELLER)] * 5, **options)
    # It divides its argument in place where that is float32.
    return lambda: run(x.clone())


@peer("gram-newton-schulz", SHAPE, both("gram_newton_schulz", "quack.gemm_interface"))
def gram_newton_schulz(m, n):
    from gram_newton_schulz import GramNewtonSchulz

    return gram(GramNewtonSchulz, m, n, gram_newton_schulz_reset_iterations=[2])


@peer("quack standard", SHAPE, both("gram_newton_schulz", "quack.gemm_interface"))
def quack_standard(m, n):
    from gram_newton_schulz import StandardNewtonSchulz

    return gram(StandardNewtonSchulz, m, n)


def nanogpt():
    folder = os.environ.get("PALIMPSEST_MODDED_NANOGPT")
    if not folder:
        return "PALIMPSEST_MODDED_NANOGPT names no checkout of modded-nanogpt"
    if folder not in sys.path:
        sys.path.append(folder)
    return module("triton_kernels")()


@peer("modded-nanogpt", SHAPE, nanogpt)
def modded_nanogpt(m, n):
    from triton_kernels import XXT, ba_plus_cAA

    x = random(m, n)
    tall = m > n
    side = min(m, n)
    a = torch.full((side, side), float("nan"), device="cuda", dtype=torch.bfloat16)
    b = torch.full_like(a, float("nan"))
    a1, b1, c1 = KELLER

    def run():
        y = x.bfloat16()
        y = y.mT.contiguous() if tall else y
        y = y / (y.norm() + 1e-7)
        for _ in range(5):
            XXT(y, out=a)
            ba_plus_cAA(a, alpha=c1, beta=b1, out=b)
            y = torch.addmm(y, b, y, beta=a1)
        return y.mT if tall else y

    return run


@peer("dion", STEP.format("muon"), module("dion"))
def dion_muon(layers, width):
    from dion import Muon

    return Muon(hidden_matrices(layers, width), lr=1e-3, use_triton=True, use_polar_express=False).step


@peer("dion", STEP.format("normuon"), module("dion"))
def dion_normuon(layers, width):
    from dion import NorMuon

    return NorMuon(hidden_matrices(layers, width), lr=1e-3, use_triton=True, use_polar_express=False).step
