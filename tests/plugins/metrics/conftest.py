import pytest
import torch


@pytest.fixture
def normal():
    """Draw standard normal numbers from a seed: ``normal(seed, *shape)``."""

    def draw(seed, *shape, dtype=torch.float64):
        return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)

    return draw
