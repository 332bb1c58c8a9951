"""What conditional networks are told: a class label, numbers (a size, a pitch, an age), or both, as one tensor.

It goes under the name ``y`` through models, objectives and networks: labels alone are int64 ``(B,)``; where there are
numbers it is float32 ``(B, K)``, or ``(B, 1 + K)`` with the label first where there are classes too. Numbers are
standardized: data units are ``number * spec.condition_scale + spec.condition_shift``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from genzoo.core.arguments import array
from genzoo.core.errors import GenzooError, UsageError, did_you_mean, folded
from genzoo.core.modality import of
from genzoo.core.noise import generator
from genzoo.core.spec import DataSpec

if TYPE_CHECKING:
    from genzoo.core.model import Model

_BLOCK = 64  # conditions of samples are drawn in blocks of this many
_MOST_NAMED = 20  # classes in a sentence
_CONDITION, _CLASS = -4, -7  # streams of randomness, beside those of `genzoo.core.model` and `selection`


def joined(labels: Tensor | None, numbers: Tensor | None) -> Tensor | None:
    """Labels ``(B,)`` and standardized numbers ``(B, K)`` as networks are told them."""
    if numbers is None:
        return labels
    return numbers if labels is None else torch.cat([labels.to(numbers.dtype).unsqueeze(1), numbers], 1)


def labels_of(y: Tensor) -> Tensor:
    """The labels ``(B,)`` in what networks with classes are told."""
    return y if y.dim() == 1 else y[:, 0].long()


def numbers_of(y: Tensor | None, condition: int) -> Tensor:
    """The numbers ``(B, K)`` in what networks are told; raises `UsageError` if there are not as many."""
    if y is None or y.dim() != 2 or y.shape[1] not in (condition, condition + 1):
        raise UsageError(f"this network is conditioned on {condition} numbers; give them for each observation")
    return y[:, -condition:]


def repeated(y: Tensor | None, times: int) -> Tensor | None:
    """What networks are told, ``times`` over."""
    return None if y is None else y.repeat(times, *[1] * (y.dim() - 1))


def standardized(spec: DataSpec, numbers: Tensor) -> Tensor:
    """Numbers in data units ``(B, K)`` as networks are told them, float32."""
    scale, shift = (
        torch.tensor(v, dtype=torch.float32, device=numbers.device)
        for v in (spec.condition_scale, spec.condition_shift)
    )
    return (numbers.float() - shift) / scale


def checked(spec: DataSpec, given: Any, n: int, what: str) -> Tensor:
    """Conditions in data units, ``(K,)`` for all or ``(n, K)``, as finite float32 ``(n, K)`` on the CPU."""
    names, wanted = ", ".join(spec.conditions), len(spec.conditions)
    numbers = array(given, f"conditions ({names})").detach().cpu().float()
    if numbers.dim() == 1:
        numbers = numbers.expand(n, -1)
    if numbers.shape != (n, wanted):
        raise UsageError(
            f"{what} takes conditions of shape ({n}, {wanted}), or {wanted} numbers for all ({names}), "
            f"not {tuple(numbers.shape)}"
        )
    if not torch.isfinite(numbers).all():
        raise UsageError(f"{what} takes conditions that are finite numbers ({names})")
    return numbers


def told_of_samples(model: Model, n: int, labels: Any, condition: Any, seed: int) -> Tensor | None:
    """What a model's networks are told of each of ``n`` samples, on the CPU, or None.

    Without labels it cycles through the classes, or draws them by the shares that the modality names; without
    conditions they are normal. Both are drawn in blocks, so that those of sample i are a function of the seed.
    """
    y = labels_for(model, labels, n)
    if model.classes and y is None:
        shares = torch.tensor(of(model.spec).shares(model.spec))
        y = torch.arange(n) % model.classes
        if len(shares):
            drawn = [torch.rand(_BLOCK, generator=generator(seed, _CLASS, i)) for i in range(math.ceil(n / _BLOCK))]
            y = torch.bucketize(torch.cat(drawn)[:n] * shares.sum(), shares.cumsum(0)[:-1], right=True) if n else y
    if condition is not None or not model.conditions:
        return _with_condition(model, y, condition, n)
    blocks = range(math.ceil(n / _BLOCK))
    drawn = [torch.randn(_BLOCK, model.conditions, generator=generator(seed, _CONDITION, i)) for i in blocks]
    return joined(y, torch.cat(drawn)[:n] if drawn else torch.empty(0, model.conditions))


def given(model: Model, labels: Any, condition: Any, n: int) -> Tensor | None:
    """What a model's networks are told of ``n`` observations, on the CPU, or None; nothing is left out or too much."""
    if model.classes and labels is None:
        raise UsageError(f"{model.called} is conditional: give the labels of its {model.classes} classes")
    if model.conditions and condition is None:
        raise UsageError(f"{model.called} is conditional: give its conditions ({', '.join(model.spec.conditions)})")
    return _with_condition(model, labels_for(model, labels, n), condition, n)


def _with_condition(model: Model, y: Tensor | None, condition: Any, n: int) -> Tensor | None:
    if condition is None:
        return y
    if not model.conditions:
        raise UsageError(f"{model.called} takes no conditions")
    return joined(y, standardized(model.spec, checked(model.spec, condition, n, model.called)))


def numbered(spec: DataSpec, labels: Any, what: str) -> Any:
    """Labels with the classes that they name by number: a text is a class's name, and only then a number."""
    texts = labels.tolist() if getattr(getattr(labels, "dtype", None), "kind", "") in ("U", "O") else labels
    if isinstance(texts, str):
        return _number(spec, texts, what)
    if isinstance(texts, Sequence) and any(isinstance(text, str) for text in texts):
        return [_number(spec, text, what) if isinstance(text, str) else text for text in texts]
    return labels


def _number(spec: DataSpec, text: str, what: str) -> int:
    names = spec.class_names
    if (name := folded(text.strip() if text not in names else text, names)) in names:
        return names.index(name)
    if re.fullmatch(r"[+-]?\d{1,18}", text.strip()):
        return int(text)
    raise no_class(spec, text, what)


def no_class(spec: DataSpec, text: str, what: str) -> UsageError:
    """The error that says that ``what``, of this spec, has no class called ``text``, and which it has."""
    names, there = spec.class_names, f"numbers from 0 to {spec.classes - 1}, without names"
    if names:
        there = ", ".join(names[:_MOST_NAMED]) + (f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED))
    return UsageError(f"{what} has no class {text!r}{did_you_mean(text, names)}: its classes are {there}")


def between(classes: int, a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """What networks are told from ``a`` to ``b`` at ``t`` ``(steps,)``: shares of classes, then numbers.

    It is float32 ``(N * steps, classes)``, with K conditions ``(N * steps, classes + K)``.
    """
    hot = [torch.nn.functional.one_hot(labels_of(y), classes).float() for y in (a, b)]
    ends = [h if y.dim() == 1 else torch.cat([h, y[:, 1:]], 1) for h, y in zip(hot, (a, b), strict=True)]
    share = t.cpu()[None, :, None]
    return ((1 - share) * ends[0][:, None] + share * ends[1][:, None]).flatten(0, 1)


def told_between(model: Model, z: Tensor, a: Tensor | None, b: Tensor | None, t: Tensor) -> Tensor:
    """What networks are told on paths from class to class; `UsageError` where they know nothing in between.

    A code ``z (1, *latent.shape)`` is there to try it.
    """
    assert a is not None
    assert b is not None
    told = between(model.classes, a, b, t)
    try:
        tried = [model.mean(z, y[:1].to(z.device)) for y in (told, a)] if model.classes > 1 else []
        same = bool(tried) and torch.allclose(tried[0], tried[1], rtol=1e-3, atol=1e-4)
    except (GenzooError, RuntimeError, IndexError, TypeError):
        same = False
    if not same:
        raise UsageError(f"{model.called} takes one class at a time: there is nothing between two of its classes")
    return told


def labels_for(model: Model, labels: Any, n: int) -> Tensor | None:
    """Labels of a model's classes, one for all or one for each, as int64 ``(n,)`` on the CPU, or None."""
    if labels is None:
        return None
    if not model.classes:
        raise UsageError(f"{model.called} is not conditional: it takes no labels")
    labels = numbered(model.spec, labels, model.called)
    y = array(labels, "labels", kind := f"whole numbers from 0 to {model.classes - 1}").cpu()
    if y.is_floating_point() or y.dtype == torch.bool:
        raise UsageError(f"labels are {kind}, not {y.dtype}")
    y = y.long().repeat(n) if y.dim() == 0 else y.long()
    if y.shape != (n,):
        raise UsageError(f"{n} labels are needed, one per observation, not an array of shape {tuple(y.shape)}")
    wrong = y[(y < 0) | (y >= model.classes)]
    if len(wrong):
        raise UsageError(f"label {wrong[0].item()} is out of range: the classes are 0 to {model.classes - 1}")
    return y
