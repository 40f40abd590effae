r"""Kernel sums: the engine under every kernel estimate of the package.

A Nadaraya-Watson estimate is a ratio of two sums over the fitted rows,

.. math:: S(x) = \sum_j w_j K(x, x_j) v_j, \qquad M(x) = \sum_j w_j K(x, x_j),

with the product kernel :math:`K(x, x_j) = \prod_d \exp(-(x_d - x_{jd})^2 / 2 h_d^2)`. The kernel
is one at distance zero, so the *kernel mass* M counts neighbouring rows. An axis whose bandwidth
is infinite drops out of the product. Weights are repetitions.

Few rows and many axes are summed up term by term, many rows on up to three axes through a grid.
"""

from sk_arcal._smoothing._binned import MARGIN, KernelTable
from sk_arcal._smoothing._cells import MOST_CELL_AXES, CellGrid
from sk_arcal._smoothing._fine_grid import FineGrid
from sk_arcal._smoothing._grid import Grid, GridAxis
from sk_arcal._smoothing._spread import axis_deviation, scott_bandwidth
from sk_arcal._smoothing._sums import ALGORITHMS, kernel_sums, leave_one_out_sums, takes_grid

__all__ = [
    "ALGORITHMS",
    "MARGIN",
    "MOST_CELL_AXES",
    "CellGrid",
    "FineGrid",
    "Grid",
    "GridAxis",
    "KernelTable",
    "axis_deviation",
    "kernel_sums",
    "leave_one_out_sums",
    "scott_bandwidth",
    "takes_grid",
]
