"""A peer on a GPU: hierarchical alternating least squares in torch, with cuBLAS for its products.

Its best honest settings: the data stays in its 16 bits, the small factor is rounded to them, tensor
cores multiply both and accumulate in float32. Everything else is float32, laid out so that a
component is contiguous; one sweep over W and one over H an iteration, all of which is one CUDA
graph, so that no time goes into launching its many small operations. Cichocki and Phan, "Fast local
algorithms for large scale nonnegative matrix and tensor factorizations", 2009.
"""

from __future__ import annotations

import torch

# A component whose Gram entry is below this is 0, and stays.
_TINY = 1e-12


class TorchHals:
    """HALS on a matrix of shape (n, d), on the device that it is on.

    Parameters
    ----------
    X : torch.Tensor of shape (n, d)
        float16 on a GPU; on a CPU, which multiplies no halves into floats, float32.
    rank : int
        Number of components k.
    seed : int
        Of the start.

    Attributes
    ----------
    W : torch.Tensor of shape (k, n)
    H : torch.Tensor of shape (k, d)
        float32 factors, a component in a row.
    """

    def __init__(self, X: torch.Tensor, rank: int, seed: int = 0) -> None:
        generator = torch.Generator(X.device).manual_seed(seed)
        self.X = X
        self.W, self.H = (
            torch.rand(rank, size, device=X.device, generator=generator) / rank for size in X.shape
        )

    def iterate(self) -> None:
        """Update W and then H, each in one sweep."""
        _sweep(self.W, self.H @ self.H.T, self._product(self.H, self.X.T))
        _sweep(self.H, self.W @ self.W.T, self._product(self.W, self.X))

    def _product(self, factor: torch.Tensor, data: torch.Tensor) -> torch.Tensor:
        if data.dtype is torch.float32:
            return factor @ data
        return torch.mm(factor.to(data.dtype), data, out_dtype=torch.float32)

    def relative_loss(self) -> float:
        """||X - W H||^2 / ||X||^2, from sums in float64 over blocks of rows."""
        residual = total = 0.0
        for first in range(0, len(self.X), 8192):
            rows = self.X[first : first + 8192].float()
            error = rows - self.W[:, first : first + 8192].T @ self.H
            residual += float(error.square().sum(dtype=torch.float64))
            total += float(rows.square().sum(dtype=torch.float64))
        return residual / total

    def seconds(self, iterations: int) -> float:
        """Time an iteration on a GPU, as the replay of a CUDA graph."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            self.iterate()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.iterate()
        graph.replay()
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(iterations):
            graph.replay()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / iterations


def _sweep(factor: torch.Tensor, gram: torch.Tensor, cross: torch.Tensor) -> None:
    """Minimise over one component after the other: gram is k x k, the others k x size."""
    diagonal = gram.diagonal().clamp(min=_TINY)
    for r in range(len(factor)):
        step = (cross[r] - gram[r] @ factor) / diagonal[r]
        factor[r].add_(step).clamp_(min=0)
