"""Randomized and dense decompositions: torch (MKL's LAPACK), scikit-learn."""
import torch
from peer import peer

DTYPES = {"f32": torch.float32, "f64": torch.float64}


@peer("torch", r"randomizedSvd (\d+)x(\d+) (\d+)")
def svd_lowrank(match):
    m, n, rank = (int(match[i]) for i in (1, 2, 3))
    a = torch.randn(m, n)
    # Ten columns of oversampling, as ours and scikit-learn's.
    return lambda: torch.svd_lowrank(a, q=rank + 10, niter=2)


@peer("sklearn", r"randomizedSvd (\d+)x(\d+) (\d+)")
def sklearn_randomized(match):
    from sklearn.utils.extmath import randomized_svd

    m, n, rank = (int(match[i]) for i in (1, 2, 3))
    a = torch.randn(m, n).numpy()
    return lambda: randomized_svd(a, rank, n_oversamples=10, n_iter=2, random_state=0)


@peer("torch", r"(qr|cholesky|solve|eigh|svd) (f32|f64) (\d+)")
def dense(match):
    n = int(match[3])
    a = torch.randn(n, n, dtype=DTYPES[match[2]])
    if match[1] in ("cholesky", "eigh"):
        a = a @ a.T + torch.eye(n, dtype=a.dtype)
    b = a[:, :1].contiguous()
    return {
        "qr": lambda: torch.linalg.qr(a),
        "cholesky": lambda: torch.linalg.cholesky(a),
        "solve": lambda: torch.linalg.solve(a, b),
        "eigh": lambda: torch.linalg.eigh(a),
        "svd": lambda: torch.linalg.svd(a, full_matrices=False),
    }[match[1]]
