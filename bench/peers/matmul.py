"""torch.mm (MKL in float32, oneDNN in bfloat16) and OpenBLAS."""
import ctypes
import ctypes.util

import numpy
import torch
from peer import peer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f64": torch.float64}


@peer("torch", r"matmul (f32|bf16|f64) (\d+)x(\d+)x(\d+)( nt| tn)?")
def torch_mm(match):
    dtype = DTYPES[match[1]]
    m, k, n = (int(match[i]) for i in (2, 3, 4))
    a = torch.randn(k, m).to(dtype).T if match[5] == " tn" else torch.randn(m, k).to(dtype)
    b = torch.randn(n, k).to(dtype).T if match[5] == " nt" else torch.randn(k, n).to(dtype)
    out = torch.empty(m, n, dtype=dtype)
    return lambda: torch.mm(a, b, out=out)


@peer("openblas", r"matmul f32 (\d+)x(\d+)x(\d+)")
def sgemm(match):
    path = ctypes.util.find_library("openblas")
    if path is None:
        raise OSError("no libopenblas (Debian: libopenblas0)")
    blas = ctypes.CDLL(path)
    blas.openblas_set_num_threads(torch.get_num_threads())
    m, k, n = (int(match[i]) for i in (1, 2, 3))
    a, b = numpy.random.randn(m, k).astype("float32"), numpy.random.randn(k, n).astype("float32")
    c = numpy.zeros((m, n), dtype="float32")
    pointer = lambda x: ctypes.c_void_p(x.ctypes.data)
    number = ctypes.c_float
    return lambda: blas.cblas_sgemm(
        101, 111, 111, m, n, k, number(1), pointer(a), k, pointer(b), n, number(0), pointer(c), n
    )
