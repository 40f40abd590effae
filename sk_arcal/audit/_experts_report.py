"""What the report's section on experts shows and does not find in the record itself."""

from typing import Any

import numpy as np

from sk_arcal.audit._experts_figure import configurations_svg
from sk_arcal.audit._experts_records import ExpertsAudit
from sk_arcal.audit._experts_summary import collapse_sentence, shift_sentence

_CHIPS = {"fragile": "unsure", "not fragile": "none", "cannot tell": "unsure"}


def experts_context(experts: ExpertsAudit | None) -> dict[str, Any] | None:
    """Return names for the template; None if the experts were not audited."""
    if experts is None:
        return None
    verdict = experts.verdict
    chips = (
        ("calibrated", "none") if verdict.calibrated else ("not calibrated", "unsure"),
        (verdict.stability, _CHIPS[verdict.stability]),
        ("no repair", "none") if verdict.repair == "none" else ("repair", "signal"),
    )
    found = experts.calibration
    gaps = [abs(end) for row in experts.configurations for end in (row.low, row.high)]
    return {
        "record": experts,
        "answers": list(zip(chips, verdict.sentences, strict=True)),
        "views": list(zip(experts.names, found.share, found.hard, found.weighted, strict=True)),
        "picture": configurations_svg(experts, prefix="x"),
        "collapse": collapse_sentence(experts),
        "shift": shift_sentence(experts),
        "reach": max([end for end in gaps if np.isfinite(end)], default=1.0) or 1.0,
    }
