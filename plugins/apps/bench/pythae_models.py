"""Train one of pythae's models and weigh test images by it; run by a Python that has pythae, and by no other.

``python pythae_models.py FOLDER JSON``: reads ``train.npy`` and ``test.npy`` of pixels 0 and 1, writes ``samples.npy``,
and prints its numbers as JSON. The loop is its own, with the Adam of pythae's scripts, and so is the estimate of the
likelihood: pythae's rounds the number of samples.
"""

from __future__ import annotations

import json
import math
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


def built(asked: dict[str, Any], shape: tuple[int, ...]) -> Any:
    """The model, on one hidden layer each way."""
    models, nets = import_module("pythae.models"), import_module("pythae.models.nn")
    output = import_module("pythae.models.base.base_utils").ModelOutput
    width, latent, size = asked["width"], asked["latent"], math.prod(shape)

    class Encoder(nets.BaseEncoder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(size, width), nn.ReLU())
            self.mean, self.log_var = nn.Linear(width, latent), nn.Linear(width, latent)

        def forward(self, x: Any) -> Any:
            h = self.hidden(x)
            return output(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(nets.BaseDecoder):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            layers = [nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, size), nn.Sigmoid()]
            self.layers = nn.Sequential(*layers, nn.Unflatten(-1, shape))

        def forward(self, z: Any) -> Any:
            return output(reconstruction=self.layers(z))

    name = asked["model"]
    of: dict[str, dict[str, Any]] = {
        "IWAE": {"number_samples": 5}, "CIWAE": {"number_samples": 5, "beta": 0.5},
        "VAMP": {"number_components": 100, "linear_scheduling_steps": 0},
    }  # fmt: skip
    more = of.get(name, {})
    config = getattr(models, f"{name}Config")(
        input_dim=shape, latent_dim=latent, reconstruction_loss="bce", uses_default_encoder=False,
        uses_default_decoder=False, **more,
    )  # fmt: skip
    return getattr(models, name)(config, encoder=Encoder(), decoder=Decoder())


def prior_log_prob(model: Any, z: torch.Tensor) -> torch.Tensor:
    """Log p(z) of codes ``(..., d)``: the standard normal, or the mixture of posteriors of pseudo-inputs."""
    if not hasattr(model, "pseudo_inputs"):
        return normal(z, torch.zeros(()), torch.zeros(())).sum(-1)
    inputs = model.pseudo_inputs(model.idle_input).reshape(-1, *model.model_config.input_dim)
    found = model.encoder(inputs)
    each = normal(z[..., None, :], found.embedding, found.log_covariance).sum(-1)
    mixed: torch.Tensor = torch.logsumexp(each, -1) - math.log(each.shape[-1])
    return mixed


def normal(x: torch.Tensor, mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    """Log density, elementwise."""
    return -0.5 * ((x - mean) ** 2 * torch.exp(-log_var) + log_var + math.log(2 * math.pi))


def weights(model: Any, x: torch.Tensor, k: int) -> torch.Tensor:
    """Log p(x, z) - log q(z|x) of K codes each, ``(K, B)``."""
    q = model.encoder(x)
    mean, log_var = q.embedding, q.log_covariance
    z = mean + torch.exp(0.5 * log_var) * torch.randn(k, *mean.shape)
    p = model.decoder(z.flatten(0, 1)).reconstruction.reshape(k, len(x), -1).clamp(1e-7, 1 - 1e-7)
    flat = x.flatten(1)
    log_x = (flat * p.log() + (1 - flat) * torch.log1p(-p)).sum(-1)
    found: torch.Tensor = log_x + prior_log_prob(model, z) - normal(z, mean, log_var).sum(-1)
    return found


def main(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """Train, weigh, sample."""
    if asked["threads"]:
        torch.set_num_threads(asked["threads"])
    torch.manual_seed(asked["seed"])
    train, test = (torch.from_numpy(np.load(folder / f"{part}.npy", allow_pickle=False)) for part in ("train", "test"))
    model = built(asked, tuple(train.shape[1:]))
    optimizer, batch = torch.optim.Adam(model.parameters(), lr=1e-3), asked["batch"]
    begun, step, order = time.perf_counter(), 0, torch.randperm(len(train))
    model.train()
    while (asked["steps"] is None or step < asked["steps"]) and (
        asked["seconds"] is None or time.perf_counter() - begun < asked["seconds"]
    ):
        at = step * batch % (len(train) - batch + 1)
        if at < batch:
            order = torch.randperm(len(train))
        loss = model({"data": train[order[at : at + batch]].float()}, epoch=1).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    seconds = time.perf_counter() - begun
    model.eval()
    with torch.no_grad():
        part = max(asked["most"] * 100 // asked["k"], 1)
        w = torch.cat(
            [weights(model, x.float(), asked["k"]) for x in torch.split(test[: asked["n"]], part)], 1
        ).double()
        bounds = {"log-likelihood": torch.logsumexp(w, 0) - math.log(len(w)), "elbo": w.mean(0)}
        z = torch.randn(asked["n"], asked["latent"])
        if hasattr(model, "pseudo_inputs"):
            inputs = model.pseudo_inputs(model.idle_input).reshape(-1, *model.model_config.input_dim)
            q, which = model.encoder(inputs), torch.randint(len(inputs), (asked["n"],))
            z = q.embedding[which] + torch.exp(0.5 * q.log_covariance[which]) * z
        pixels = torch.bernoulli(model.decoder(z).reconstruction.clamp(0, 1))
    np.save(folder / "samples.npy", (255 * pixels.numpy()).astype(np.uint8))
    numbers = {"seconds": round(seconds, 1), "steps": step, "parameters": sum(p.numel() for p in model.parameters())}
    for name, each in bounds.items():
        numbers |= {name: each.mean().item(), f"{name} error": (each.std() / math.sqrt(len(each))).item()}
    return numbers


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), json.loads(sys.argv[2]))))
