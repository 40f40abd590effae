"""Read: from a file, a frame or arrays to one checked :class:`PredictionTable`.

A *source* holds named columns as they were found (`_delimited`, `_json_lines`, `_npz`,
`_lm_eval`); *roles* say which column is what; `_assemble` turns both into outcome, confidence,
class scores and routing, and every value is checked on the way.
"""

from sk_arcal.audit._reading._readers import read_predictions
from sk_arcal.audit._reading._table import PredictionTable

__all__ = ["PredictionTable", "read_predictions"]
