"""A game in the plane as a picture: data, samples, and what the critic makes of every place."""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image
from torch import Tensor

from genzoo.core.data.observations import to_model
from genzoo.core.modality import of
from genzoo.core.pictures import grids as pictures
from genzoo.core.training.trainer import Trainer


def is_plane(trainer: Trainer) -> bool:
    """Whether observations are points in the plane."""
    return of(trainer.model.spec).plane(trainer.model.spec)


@torch.no_grad()
def landscape(trainer: Trainer, points: Tensor, steps: int = 64) -> Image.Image:
    """Draw samples ``(N, 2)`` in data units over a trainer's data, and under both the critic's surface.

    It is asked at ``steps`` × ``steps`` places, where it judges single observations; a conditional critic's surface is
    the mean over the classes. The square shown is the data's, so that the pictures of a run make a film. Nothing of the
    trainer changes.
    """
    spec, behind = trainer.model.spec, trainer.data.take(slice(1000)).x.float().cpu()
    limit, surface = pictures.reach(behind), None
    critic: Any = dict(trainer.nets.critics).get("critic")
    single = critic is not None and critic.ports.inputs == spec.shape and not critic.ports.beside
    single = single and not critic.ports.condition
    if single and critic.ports.outputs == (1,) and critic.ports.classes <= 32:
        x = to_model(spec, pictures.plane(limit, steps).to(trainer.device))
        training = critic.training
        critic.eval()  # spectral norm moves while it trains
        classes = range(critic.ports.classes) if critic.ports.classes else (None,)
        judged = [critic(x, None if c is None else torch.full((len(x),), c, device=x.device)) for c in classes]
        critic.train(training)
        surface = torch.stack(judged).float().flatten(2).mean((0, 2)).view(steps, steps)
    return pictures.scatter(points, behind, limit=limit, under=surface)
