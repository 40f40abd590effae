"""Tiny modules, the functions that build them, and the interpreters that other processes need."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

ROOT = Path(__file__).parents[2]


class Net(nn.Module):
    """A parameter used twice, two kinds of buffers, and a constant in code."""

    def __init__(self, width=4, p=0.1, eps=1e-5):
        super().__init__()
        self.first = nn.Linear(3, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.drop = nn.Dropout(p)
        self.second = nn.Linear(width, width)
        self.third = nn.Linear(width, width)
        self.third.weight = self.second.weight
        self.scale = 0.5
        self.register_buffer("kept", torch.arange(3.0))
        self.register_buffer("fleeting", torch.arange(2), persistent=False)
        self.first.bias.requires_grad_(False)

    def forward(self, x):
        hidden = self.second(self.drop(torch.relu(self.norm(self.first(x)))))
        return self.third(hidden) * self.scale


def make_net(seed=0, **kwargs):
    """Return a Net whose weights depend on the seed only."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net(**kwargs)


def make_unseeded():
    """Return another network every time."""
    return nn.Linear(3, 3)


def make_with_values():
    """Return a network whose construction reads values, which "meta" does not have."""
    rates = [float(rate) for rate in torch.linspace(0, 0.3, 3)]
    return nn.Sequential(*(nn.Dropout(rate) for rate in rates), nn.Linear(3, 2))


def make_number():
    """Return no network."""
    return 3


def words(texts):
    """Return lengths of words as tokens."""
    return [[len(word) for word in text.split()] for text in texts]


def make_words():
    """Return a tokenizer."""
    return words


def run_python(code, *arguments, **environment):
    """Return what a fresh interpreter prints; fail with its traceback."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
