"""What the tests of the networks share."""

import numpy as np
import pytest
import torch

from sk_arcal.models import VisionTransformer


@pytest.fixture
def random_reads():
    """Draw queries and key gains of a module, which start where they would hide mistakes."""

    def draw(module, seed=0, scale=1.0):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if name.endswith("query"):
                    parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
                elif name.endswith("key_gain"):
                    parameter.copy_(1 + 0.5 * torch.randn(parameter.shape, generator=generator))
        return module

    return draw


@pytest.fixture
def images():
    """Twelve small colour images, in bytes."""
    return np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)


@pytest.fixture
def make_transformer(random_reads):
    """Make a small vision transformer in double precision, with reads that are not uniform."""

    def make(residual="full", seed=0, **changes):
        settings = {"width": 16, "depth": 3, "n_heads": 2, "patch_size": 4} | changes
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = VisionTransformer((8, 8, 3), 5, residual=residual, **settings).double().eval()
        return random_reads(module, seed)

    return make
