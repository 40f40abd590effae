"""How the results of this package become tables and short texts."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sk_arcal._validation import import_optional


def as_frame(columns: Mapping[str, Any], caller: str) -> Any:
    """Return the columns as a pandas DataFrame."""
    pandas = import_optional("pandas", extra="report", caller=caller)
    return pandas.DataFrame(dict(columns))


def as_text(columns: Mapping[str, NDArray[Any]]) -> str:
    """Return the columns as aligned text, numbers with four significant digits."""
    cells = [[name, *map(_cell, values)] for name, values in columns.items()]
    widths = [max(map(len, column)) for column in cells]
    rows = zip(*cells, strict=True)
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def short_repr(name: str, **numbers: float) -> str:
    """Return `name(key=value, ...)` with four significant digits."""
    return f"{name}({', '.join(f'{key}={value:.4g}' for key, value in numbers.items())})"


def _cell(value: Any) -> str:
    if not isinstance(value, (float, np.floating)):
        return str(value)
    number = float(value)
    return f"{number:.0f}" if abs(number) >= 1e4 else f"{number:.4g}"
