"""Modules that route, and note in a file how many rows they are given: processes share it."""

import os
import signal
from pathlib import Path

import torch
from torch import nn


class Gate(nn.Module):
    """A softmax over experts that describes itself."""

    route_kind = "router"

    def __init__(self, n_inputs, n_experts):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_experts, n_inputs))

    def forward(self, x):
        return (x @ self.weight.T).softmax(dim=-1)

    def read_routes(self, args, output):
        return {"weights": output, "selected": output.topk(2, dim=-1).indices}


class Counting(nn.Module):
    """Two gates and a linear head for rows of any width: what lies beyond is cut off.

    Parameters
    ----------
    log : path-like
        Where the number of rows of every call is appended; none is noted if empty.
    """

    def __init__(self, log="", n_inputs=4, n_classes=3, n_experts=4, seed=0):
        super().__init__()
        self.log, self.n_inputs = str(log), n_inputs
        self.first = Gate(n_inputs, n_experts)
        self.second = Gate(n_inputs, n_experts)
        self.head = nn.Linear(n_inputs, n_classes)
        self.drop = nn.Dropout(0.5)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for values in self.parameters():
                values.copy_(torch.randn(values.shape, generator=generator))

    def forward(self, x):
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{len(x)}\n")
            self.die_where_told()
        x = nn.functional.pad(x.flatten(1), (0, self.n_inputs))[:, : self.n_inputs]
        mixed = self.first(x).sum(dim=-1, keepdim=True) * self.second(x).sum(dim=-1, keepdim=True)
        return self.head(self.drop(x)) * mixed

    def die_where_told(self):
        """Be killed, as by a power cut, after as many rows as a file beside the log says."""
        order = Path(f"{self.log}.dies_at")
        if order.exists() and rows_in(self.log) > int(order.read_text()):
            os.kill(os.getpid(), signal.SIGKILL)


def rows_in(log):
    """Return the rows noted so far, in all processes."""
    path = Path(log)
    return sum(map(int, path.read_text().split())) if path.exists() else 0
