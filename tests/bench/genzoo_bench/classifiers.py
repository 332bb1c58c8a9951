"""Trains the classifiers that ship as extractors, and writes their weights, in half precision:

python tests/bench/genzoo_bench/classifiers.py digits|fashion-mnist|spoken-digits
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from genzoo.core.noise import Order, stream_seed
from genzoo.plugins.extractors.digit_judge import FILE, DigitJudge
from genzoo.plugins.extractors.shipped import DigitClassifier, FashionClassifier, GreyClassifier
from genzoo.registry import the_registry
from genzoo.registry.verbs.data import open_data


def train(cls: type[GreyClassifier], name: str, *, epochs: int, mirror: bool, batch: int = 128) -> GreyClassifier:
    """Train on a data set, with images shifted by up to two pixels, from seed 0; print the test accuracy.

    With ``mirror`` an image and its mirror image are of one class.
    """
    data, test = (open_data(the_registry(), name, split=split) for split in ("train", "test"))
    assert data.y is not None
    torch.manual_seed(stream_seed(0, 1))
    model = cls()
    steps = epochs * (len(data) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    order = Order(len(data), stream_seed(0, 2))
    for step in range(steps):
        index = order.take(step * batch, batch)
        x = data.x[index].float() / 255
        if mirror:
            x = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, x.flip(3), x)
        dx, dy = torch.randint(-2, 3, (2,)).tolist()
        x = torch.roll(F.pad(x, (2, 2, 2, 2)), (dy, dx), (2, 3))[:, :, 2:-2, 2:-2]
        loss = F.cross_entropy(model(x), data.y[index], label_smoothing=0.05)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}")
    model.eval()
    print(f"test accuracy {model.accuracy(test):.4f}")
    return model


def judge(epochs: int = 30, batch: int = 64) -> DigitJudge:
    """Train on spoken digits, at other places and speeds and with noise, from seed 0; print both test accuracies."""
    data = open_data(the_registry(), "spoken-digits")
    assert data.y is not None
    torch.manual_seed(stream_seed(0, 1))
    model, steps = DigitJudge(), epochs * (len(data) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=1e-2, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, steps)
    order = Order(len(data), stream_seed(0, 2))
    for step in range(steps):
        index = order.take(step * batch, batch)
        x = data.x[index].float() / 32768
        times = float(0.8 + 0.45 * torch.rand(()))  # faster and higher, or slower and lower: other voices
        x = F.interpolate(x, scale_factor=times, mode="linear")[..., : x.shape[2]]
        x = torch.roll(F.pad(x, (0, data.x.shape[2] - x.shape[2])), int(torch.randint(-300, 301, ())), 2)
        x = x + torch.randn(x.shape) * torch.rand(batch, 1, 1) * 0.2 * x.square().mean(2, keepdim=True).sqrt()
        loss = F.cross_entropy(model(x), data.y[index], label_smoothing=0.05)
        torch.autograd.backward(loss)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
    model.eval()
    for voices in ("heard", "unheard"):
        test = open_data(the_registry(), "spoken-digits", {"voices": voices}, split="test")
        assert test.y is not None
        print(f"accuracy on {voices} voices {model.accuracy(test.x, test.y):.4f}")
    return model


if __name__ == "__main__":
    trained: GreyClassifier | DigitJudge
    if sys.argv[1] == "digits":
        trained = train(DigitClassifier, "digits", epochs=12, mirror=False)
    elif sys.argv[1] == "spoken-digits":
        trained = judge()
    else:
        trained = train(FashionClassifier, "fashion-mnist", epochs=8, mirror=True)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in trained.state_dict().items()}
    save_file(halves, FILE if isinstance(trained, DigitJudge) else trained.file())
