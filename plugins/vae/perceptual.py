"""VAEs whose reconstructions are judged as pictures: by structure, or by a classifier's features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from genzoo.core.data import to_units
from genzoo.core.errors import UsageError
from genzoo.core.modality import of
from genzoo.core.model import Model
from genzoo.core.objective import Batch, Loss, Networks, Plan
from genzoo.core.options import option
from genzoo.core.posterior import Posterior
from genzoo.core.spec import DataSpec
from genzoo.plugins.extractors.shipped import DigitClassifier, FashionClassifier, opponent
from genzoo.plugins.metrics.similarity import ms_ssim, scales_of
from genzoo.plugins.vae.vae import VAE
from genzoo.plugins.vae.variational import Variational, bound_of
from genzoo.registry import declare


@declare.objective(
    "ms-ssim-vae", paper="arXiv:1511.06409", tags=("vae",), modalities=("image",), recipe={"like": "vae"}
)
class MSSSIMVAE(Variational):
    """VAE of pictures' structure: w (1 - MS-SSIM(x, x̂)) + β KL(q(z|x) ‖ p(z)).

    MS-SSIM is that of the metric, of each picture by itself. It is at most 1, where a KL is tens of nats: by default w
    is half the numbers of a picture, which is what a Gaussian of the data's own variance asks of a blank picture. The
    likelihood learns its scale only, so that the model has a bound, and samples with noise.

    When: edges and texture matter more than grey values.

    Cost: that of `vae`, and five blurred pictures at every scale.
    """

    @dataclass(frozen=True)
    class Options(Variational.Options):
        weight: float | None = option(None, "w; none is half the numbers of a picture", low=0)
        beta: float = option(1.0, "β, weight of the KL", low=0)

    options: Options

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if not of(spec).pixels:
            raise UsageError(f"MS-SSIM is of pictures, and this is {spec.modality} data: use --objective vae")
        scales_of(*spec.shape[1:])
        return replace(super().plan(spec, classes), means=True)

    def loss(self, player: str, nets: Networks, batch: Batch, noise: Mapping[str, Tensor]) -> Loss:
        model, weight = nets.model, self.options.weight
        q = model.posterior(batch.x, batch.y)
        z, kl = model.code(q, noise["eps"], batch.y)
        params = model.params(q, z, batch.y)
        found, name = bound_of(model, batch, q, params.detach(), kl), "dissimilarity"
        x, again = (to_units(model.spec, t) for t in (batch.x, model.likelihood.mean(params)))
        terms = {**found.terms, name: 1 - ms_ssim(x, again, floor=1e-6)}
        weights = {"kl": self.options.beta, name: model.spec.size / 2 if weight is None else weight}
        return replace(found, terms=terms, weights=weights)


class Frozen(nn.Module):
    """A network in eval mode for good, whose numbers are no parameters, nor part of a checkpoint."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):  # which adds its counter to any state that is loaded
                module.track_running_stats = False
            for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
                delattr(module, name)
                module.register_buffer(name, tensor.detach(), persistent=False)

    def train(self, mode: bool = True) -> Frozen:
        return super().train(False)


JUDGES = {"fashion": FashionClassifier, "digits": DigitClassifier}
LAYERS = (2, 6, 10)  # of a `GreyClassifier`: what each of its convolutions puts out, after norm and ReLU


@declare.objective("dfc-vae", paper="arXiv:1610.00291", tags=("vae",), modalities=("image",), recipe={"like": "vae"})
class DFCVAE(VAE):
    """Deep feature consistent VAE: the evidence lower bound, and w ½ D times the squared difference of features.

    Features are those of the small classifiers that ship with genzoo, after each of three convolutions: mean squares
    over a layer, so that ½ D of them weighs as a Gaussian of σ = 1 does. They are of grey pictures of 28×28; others
    are brought to that. The classifier stays as it is.

    When: pictures of clothes or digits should look right to a classifier, at a price in nats.

    Cost: that of `vae`, and two passes of the classifier.
    """

    @dataclass(frozen=True)
    class Options(VAE.Options):
        weight: float = option(0.5, "w, weight of each layer's difference", low=0)
        judge: Literal["fashion", "digits"] = option("fashion", "what the classifier was trained on")

    options: Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.judge = Frozen(JUDGES[self.options.judge].pretrained())

    def plan(self, spec: DataSpec, classes: int = 0) -> Plan:
        if not of(spec).pixels:
            raise UsageError(f"the classifier is of pictures, and this is {spec.modality} data: use --objective vae")
        return replace(super().plan(spec, classes), means=True)

    def features(self, x: Tensor) -> list[Tensor]:
        """Features of pictures ``(B, C, H, W)`` in [0, 1], layer by layer."""
        h, found = opponent(x)[:, :1], []
        if h.shape[-2:] != (28, 28):
            h = F.interpolate(h, (28, 28), mode="bilinear", antialias=True, align_corners=False)
        h, body = h * 2 - 1, self.judge.network.body
        assert isinstance(body, nn.Sequential)
        for i in range(LAYERS[-1] + 1):
            h = body[i](h)
            found += [h] if i in LAYERS else []
        return found

    def bound(
        self, model: Model, batch: Batch, noise: Mapping[str, Tensor], q: Posterior, z: Tensor, kl: Tensor
    ) -> Loss:
        params = model.params(q, z, batch.y)
        q.params = params  # where the bound finds them
        found, name = super().bound(model, batch, noise, q, z, kl), "features"
        with torch.no_grad():
            truth = self.features(to_units(model.spec, batch.x))
        again = self.features(to_units(model.spec, model.likelihood.mean(params)))
        far = [F.mse_loss(a, b, reduction="none").flatten(1).mean(1) for a, b in zip(again, truth, strict=True)]
        terms = {**found.terms, name: torch.stack(far).sum(0) * (model.spec.size / 2)}
        return replace(found, terms=terms, weights={**found.weights, name: self.options.weight})
