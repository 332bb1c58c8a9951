"""What a loss needs of the whole batch when several processes share it: a gather that gradients go through.

A loss calls `all_gather` where a term depends on the rest of the batch; alone it is the identity. Batch norm's
statistics go the same way (`sync_batch_norm`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import signature
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._compile import _disable_dynamo

_turn = False  # whether a turn of training is played together; never in evaluation, which ranks may do apart


@contextmanager
def playing_together(active: bool) -> Iterator[None]:
    """Let `all_gather` reach across processes: for the loss of a turn, which all of them compute in step."""
    global _turn
    before, _turn = _turn, active
    try:
        yield
    finally:
        _turn = before


def all_gather(x: Tensor) -> Tensor:
    """The whole batch, ``(B, ...)``, given this process's part of it ``(b, ...)``; differentiable, any number of times.

    A coupled term (`Loss.coupled`) that is computed from whole batches only has the same gradient on one
    process as on many, and says so in `Loss.coupled`. Alone, and outside of training, it gives ``x`` itself.
    """
    return _gather(x) if _turn else x


def own_part(whole: Tensor, n: int) -> Tensor:
    """This process's n observations of a whole batch that `all_gather` gave, or what was computed of it."""
    return whole if len(whole) == n else whole[dist.get_rank() * n :][:n]


@torch.no_grad()
def summed(parts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Sums over the parts of a batch, alike in names and shapes, and over the processes that share it, in float32."""
    flat = torch.stack([torch.cat([x.float().flatten() for x in part.values()]) for part in parts]).sum(0)
    if _turn:
        dist.all_reduce(flat)
    sizes = [x.numel() for x in parts[0].values()]
    return {k: v.view(x.shape) for (k, x), v in zip(parts[0].items(), torch.split(flat, sizes), strict=True)}


@_disable_dynamo  # a compiled turn is cut here; torch.compiler.disable would import the compiler at once: seconds
def _gather(x: Tensor) -> Tensor:
    return cast(Tensor, _Gather.apply(x))  # type: ignore[no-untyped-call]


class _Gather(torch.autograd.Function):
    """All-gather. Every process's loss may depend on every part, so the gradients of all of them add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Scatter.apply(grads[0])  # type: ignore[no-untyped-call]


class _Scatter(torch.autograd.Function):
    """Sum over processes of this process's part: the transpose of `_Gather`, and the other way round."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _Gather.apply(grads[0])  # type: ignore[no-untyped-call]


class _SyncBatchNorm:
    """Batch norm with the statistics of the whole batch. Mixed into torch's class, so that tensors keep their names."""

    def forward(self, x: Tensor) -> Tensor:
        norm = cast(nn.modules.batchnorm._BatchNorm, self)
        if not (_turn and (norm.training or norm.running_mean is None)):
            return cast(Tensor, super().forward(x))  # type: ignore[misc]
        norm._check_input_dim(x)  # type: ignore[no-untyped-call]
        axes = [0, *range(2, x.dim())]
        variance, mean = torch.var_mean(x.float(), axes, correction=0)
        # Processes have equal parts: the variance of all is the mean of theirs and the variance of their means.
        means, variances = all_gather(torch.stack([mean, variance])[None]).unbind(1)
        mean, variance = means.mean(0), variances.mean(0) + means.var(0, correction=0)
        _remember(norm, mean.detach(), variance.detach(), len(means) * x.numel() // x.shape[1])
        shape = [1, -1, *[1] * (x.dim() - 2)]
        factor = torch.rsqrt(variance + norm.eps)
        if norm.affine:
            factor = factor * norm.weight
        out = (x - mean.view(shape)) * factor.view(shape)
        return (out + norm.bias.view(shape) if norm.affine else out).to(x.dtype)


@torch.no_grad()
def _remember(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor, n: int) -> None:
    """Move the running statistics as torch does: of the unbiased variance, cumulatively where momentum is None."""
    if norm.running_mean is None or norm.running_var is None or norm.num_batches_tracked is None:
        return
    norm.num_batches_tracked.add_(1)
    momentum = norm.momentum if norm.momentum is not None else 1.0 / float(norm.num_batches_tracked)
    norm.running_mean.lerp_(mean.to(norm.running_mean.dtype), momentum)
    norm.running_var.lerp_((variance * (n / max(n - 1, 1))).to(norm.running_var.dtype), momentum)


@cache
def _synchronized(kind: type[nn.Module]) -> type[nn.Module]:
    return type(f"Synchronized{kind.__name__}", (_SyncBatchNorm, kind), {})


def sync_batch_norm(module: nn.Module) -> None:
    """Let every batch norm under ``module`` compute with the statistics of the whole batch, in place.

    Torch's SyncBatchNorm refuses the CPU and renames the class that is pickled; here the tensors, their names
    and, after `restore_batch_norm`, the classes are what they were.
    """
    for norm in module.modules():
        kind: Any = type(norm)
        if issubclass(kind, nn.modules.batchnorm._BatchNorm) and not issubclass(
            kind, (nn.SyncBatchNorm, _SyncBatchNorm)
        ):
            norm.__class__ = _synchronized(kind)


def restore_batch_norm(module: nn.Module) -> None:
    """Undo `sync_batch_norm`."""
    for norm in module.modules():
        if isinstance(norm, _SyncBatchNorm):
            norm.__class__ = type(norm).__mro__[2]


def distributed(turn: nn.Module, own: set[int], *, find_unused: bool) -> Any:
    """Wrap a turn so that the gradients of some parameters are averaged over processes while it runs backward.

    A turn is one player's loss, a module that holds all networks, perhaps compiled. ``own`` are the ids of parameters
    that move in it, but for those that are split over processes; ``find_unused``: some may get no gradient.
    """
    others = [name for name, p in turn.named_parameters() if id(p) not in own]
    others += [name for name, _ in turn.named_buffers()]  # they move alike everywhere
    turn._ddp_params_and_buffers_to_ignore = others  # type: ignore[assignment]
    # Of a convolution of one channel the layout is ambiguous, and nothing is lost by it.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
    engine = nn.parallel.DistributedDataParallel
    # Torch is about to rename the first of these.
    still = "forward_sync_buffers" if "forward_sync_buffers" in signature(engine).parameters else "broadcast_buffers"
    how: dict[str, Any] = {still: False, "gradient_as_bucket_view": True, "find_unused_parameters": find_unused}
    return engine(turn, **how)
