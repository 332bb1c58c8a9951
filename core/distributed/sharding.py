"""Large generators split over processes (FSDP2): parameters, gradients and optimizer states live in parts.

Only generators are split. A critic under a gradient penalty is differentiated twice, which FSDP2 cannot do, and
encoders and likelihoods are small beside what they serve: they stay whole, under DDP.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn

from genzoo.core.distributed.runtime import Runtime
from genzoo.core.model import Model

LARGE = 100_000_000  # parameters of a generator from which it is split by default, on CUDA
_UNIT = 1_000_000  # parameters of a layer that is gathered and dropped on its own


def is_sharded(tensor: Tensor) -> bool:
    """Whether a tensor is this process's part of one that is split."""
    return hasattr(tensor, "full_tensor")


def whole_tensor(tensor: Tensor) -> Tensor:
    """The tensor itself, or all of one that is split, which all processes must ask for together."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def own_part(tensor: Tensor) -> Tensor:
    """The tensor itself, or this process's part of one that is split, sharing memory."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def split_like(value: Tensor, like: Tensor) -> Tensor:
    """``value``, split as ``like`` is; the same values must be given on all processes."""
    if not is_sharded(like) or value.shape != like.shape:
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(like, DTensor)
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)


def shard(model: Model, runtime: Runtime) -> None:
    """Split a model's generator over all processes, in place: large layers of sequences one by one, then the rest."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    # It warns of outputs that are views, for those who then write into them: a generator's output is only read.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view")
    mesh = init_device_mesh(runtime.device.type, (runtime.size,))
    for part in model.generator.modules():
        if isinstance(part, nn.Sequential):  # its layers are always called, so each can be gathered when it is
            for layer in part:
                if sum(p.numel() for p in layer.parameters(recurse=False)) >= _UNIT:
                    fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    fully_shard(model.generator, mesh=mesh, reshard_after_forward=True)


def unsharded(model: Model, device: torch.device) -> Model:
    """A copy of a model that is not split yet, for `fill`."""
    return copy.deepcopy(model).to(device).requires_grad_(False).eval()


@torch.no_grad()
def fill(target: nn.Module, source: nn.Module) -> None:
    """Copy tensors between modules of the same names, either of which may be split; on all processes at once."""
    ours, theirs = target.state_dict(), source.state_dict()
    for name, tensor in ours.items():
        tensor.copy_(split_like(whole_tensor(theirs[name]).to(tensor.device), tensor))


@torch.no_grad()
def load(target: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load whole tensors into a module that may be split.

    Raises:
        KeyError: if one is missing.
    """
    own = target.state_dict()
    if not any(map(is_sharded, own.values())):
        target.load_state_dict(tensors)
        return
    for name, tensor in own.items():
        tensor.copy_(split_like(tensors[name], tensor))
