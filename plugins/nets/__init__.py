"""Architectures that fit any objective: multilayer perceptrons and convolutional networks."""

from __future__ import annotations

from genzoo.registry import Registrar, hookimpl

MLP = "genzoo.plugins.nets.mlp"
CONSTANT = "genzoo.plugins.nets.constant:ConstantGenerator"
CONV = "genzoo.plugins.nets.conv"
ANY = ("image", "vector")


@hookimpl
def genzoo_register(registry: Registrar) -> None:
    """Register the generators, encoders and critics."""
    registry.generator("mlp", f"{MLP}:MLPGenerator", summary="Perceptron, code-128-128-data", modalities=ANY)
    registry.encoder("mlp", f"{MLP}:MLPEncoder", summary="Perceptron, data-128-64-code", modalities=ANY)
    registry.critic("mlp", f"{MLP}:MLPCritic", summary="Perceptron, data-128-128-score", modalities=ANY)

    registry.generator("constant", CONSTANT, summary="Learned numbers, for models without a code", modalities=ANY)

    dcgan, image = "arXiv:1511.06434", ("image",)
    up, down = "Convolutions from the code up to 8..128 pixels", "Convolutions from 8..128 pixels down"
    registry.generator("conv", f"{CONV}:ConvGenerator", summary=up, paper=dcgan, modalities=image)
    registry.encoder("conv", f"{CONV}:ConvEncoder", summary=f"{down} to the code", paper=dcgan, modalities=image)
    registry.critic("conv", f"{CONV}:ConvCritic", summary=f"{down} to a score", paper=dcgan, modalities=image)
