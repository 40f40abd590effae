"""The experts of a mixture in plain text, verdict first."""

from sk_arcal.audit._experts_records import RADIUS, ConfigurationRow, ExpertsAudit, RepairRow
from sk_arcal.audit._experts_words import enumerate_words
from sk_arcal.audit._text import bullet, wrap
from sk_arcal.diagnostics import ExpertView


def summarise_experts(experts: ExpertsAudit) -> str:
    """Return the experts' part of the summary, at most 100 characters a line."""
    verdict = "\n".join(bullet(sentence) for sentence in experts.verdict.sentences)
    return "\n\n".join(
        [
            f"Experts\n{verdict}",
            _views(experts),
            _configurations(experts),
            _repairs(experts.repairs),
        ]
    )


def shift_sentence(experts: ExpertsAudit) -> str:
    """Say what the worst shift does to the shares, and what becomes of the error."""
    shift = experts.shift
    moved = [
        f"{row.label} from {row.share:.0%} to {row.shifted_share:.0%}" for row in experts.raised[:3]
    ]
    change = f"raises the share of {enumerate_words(moved)}" if moved else "moves no share"
    return (
        "The worst shift of the shares within bins of confidence (Kullback-Leibler ball of "
        f"{RADIUS} nats) {change}. The error, {shift.plain:.1%} without it, is {shift.error:.1%} "
        f"[{shift.low:.1%}, {shift.high:.1%}] under shifts found on other rows, and "
        f"{shift.in_sample:.1%} in sample, where a calibrated model would read {shift.floor:.1%}."
    )


def collapse_sentence(experts: ExpertsAudit) -> str:
    """Say how much the event rate varies at fixed confidence."""
    found = experts.collapse
    return (
        "Variance of the event rate between configurations at fixed confidence, x 1000: "
        f"{1000 * found.estimate:.2f} [{1000 * found.low:.2f}, {1000 * found.high:.2f}], by chance "
        f"below {1000 * found.floor_95:.2f}; {max(found.share, 0):.1%} of the outcome's variance."
    )


def _views(experts: ExpertsAudit) -> str:
    found = experts.calibration
    width = max(len("top expert"), *(len(f"expert {name}") for name in experts.names))
    head = (
        f"  {'calibration error':<{width + 12}}  {'share':>6}  {'where on top':>24}  "
        f"{'weighted by its gate':>24}"
    )
    lines = ["Every expert on the rows it is given, with the noise floor", head]
    for m, name in enumerate(experts.names):
        lines.append(
            f"  {f'expert {name}':<{width + 12}}  {found.share[m]:>6.1%}  "
            f"{_view(found.hard[m]):>24}  {_view(found.weighted[m]):>24}"
        )
    lines.append(f"  {'mixture':<{width + 12}}  {'':>6}  {_view(found.mixture):>24}")
    lines.append(
        f"  {'top expert':<{width + 12}}  {'':>6}  {_view(found.top_expert):>24}  "
        f"{f'at most {found.bound:.2%}':>24}"
    )
    return "\n".join(lines)


def _view(view: ExpertView) -> str:
    return f"{view.error:.2%} ({view.floor:.2%})" if view.n_rows else "no row"


def _configurations(experts: ExpertsAudit) -> str:
    head = f"  {'':<2}  {'share':>6}  {'shifted':>7}  {'confidence':>10}  {'rate':>6}  gap"
    lines = [f"Configurations, found on {experts.found_on}", head]
    for row in experts.configurations:
        lines += _configuration(row)
    lines += [wrap(collapse_sentence(experts), indent=2), wrap(shift_sentence(experts), indent=2)]
    return "\n".join(lines)


def _configuration(row: ConfigurationRow) -> list[str]:
    numbers = (
        f"  {row.label:<2}  {row.share:>6.1%}  {row.shifted_share:>7.1%}  {row.confidence:>10.1%}  "
        f"{row.rate:>6.1%}  {row.gap:+.1%} [{row.low:+.1%}, {row.high:+.1%}]"
    )
    return [numbers, wrap(row.words, indent=6)]


def _repairs(repairs: tuple[RepairRow, ...]) -> str:
    width = max(len(row.name) for row in repairs)
    head = (
        f"  {'out of sample':<{width}}  {'ECE':>7}  {'floor':>7}  {'log loss':>8}  "
        f"{'less temperature':>18}  {'worst-case error [95%]':>26}"
    )
    return "\n".join(["Repairs", head, *(_repair(row, width) for row in repairs)])


def _repair(row: RepairRow, width: int) -> str:
    difference = f"{row.log_loss_difference:+.4f} ({row.standard_error:.4f})"
    worst = f"{row.worst:.2%} [{row.worst_low:.2%}, {row.worst_high:.2%}]"
    return (
        f"  {row.name:<{width}}  {row.ece:>7.2%}  {row.ece_floor:>7.2%}  {row.log_loss:>8.4f}  "
        f"{difference:>18}  {worst:>26}"
    )
