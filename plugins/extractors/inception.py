"""The Inception network that FID is named after, through torch-fidelity where that is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor, Features, hash_of
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.registry import declare


@declare.extractor(
    "inception",
    summary="FID's own Inception v3 through torch-fidelity, which downloads its weights once",
    paper="arXiv:1512.00567",
    modalities=("image",),
    tags=("extra",),
)
class Inception(Extractor):
    """2,048 features and 1,008 logits of the TensorFlow network of 2015: with these a Fréchet distance is a FID.

    It needs ``pip install torch-fidelity`` (and with it torchvision), and once a network to fetch the weights.
    """

    name = "inception"
    inception = True
    class_names = tuple(f"ImageNet {i}" for i in range(1008))

    def __init__(self, network: Any) -> None:
        self.network = network

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Inception:
        if not of(spec).pixels or spec.shape[0] not in (1, 3):
            raise UsageError("the extractor 'inception' takes grey or colour images")
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as e:
            raise GenzooError(
                f"the extractor 'inception' needs torch-fidelity: pip install torch-fidelity ({e})"
            ) from None
        try:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
        except Exception as e:  # what it raises where there is no network is its own affair
            reason = f"{type(e).__name__}: {str(e).partition(chr(10))[0]}"
            raise GenzooError(
                f"torch-fidelity could not get Inception's weights, fetch them once where there is a network ({reason})"
            ) from e
        return cls(network.eval())

    def extract(self, x: Tensor) -> Features:
        """Features of images ``(B, 1 or 3, H, W)`` in [0, 1], which it takes as 8-bit and resizes itself."""
        pixels = x.expand(-1, 3, -1, -1).mul(255).round().to(torch.uint8)
        features, logits = self.network(pixels)
        return Features(features.flatten(1), logits)

    def sha256(self) -> str:
        return hash_of(self.network, self.version)

    def to(self, device: Any) -> Inception:
        self.network.to(device)
        return self
