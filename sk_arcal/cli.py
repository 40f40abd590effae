"""The shell command: ``sk-arcal audit FILE``, ``sk-arcal demo`` and ``sk-arcal cache``."""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sk_arcal import __version__
from sk_arcal._validation import import_optional

if TYPE_CHECKING:
    from sk_arcal.audit import PredictionTable, RoutingAudit, RunsAudit

DEMO_REPORT = "sk-arcal-demo.html"
_BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Parameters
    ----------
    argv : sequence of str, default=None
        Arguments after the name of the command; those of the process if None.

    Returns
    -------
    code : int
        0 when the command did what it says, 2 when the input was refused; the reason is one
        sentence on the standard error stream.

    Raises
    ------
    SystemExit
        With code 2 if the arguments themselves cannot be understood, with 0 after `--help` and
        `--version`.

    Examples
    --------
    >>> from sk_arcal.cli import main
    >>> main(["audit", "no-such-file.csv"])
    2
    """
    arguments = _parser().parse_args(argv)
    # Outside the try: an import that fails here is our fault, not that of the input.
    importlib.import_module(arguments.package)
    with _plain_warnings():
        try:
            arguments.run(arguments)
        except (ValueError, TypeError, OSError, ImportError) as error:
            _complain("error", error)
            return _BAD_INPUT
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sk-arcal",
        description="Is the model calibrated, and does its routing know what its confidence "
        "does not?",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    audit = commands.add_parser(
        "audit",
        help="audit a file of predictions, or several runs on one test set",
        # The files first: an option that takes several names would swallow them.
        usage="sk-arcal audit FILE [FILE ...] [options]",
        description="Audit a file of predictions. Columns with the usual names are found without "
        "any option; the mapping found is printed. Several files are runs (seeds) of one "
        "architecture on the same items in the same order: each is audited, and every feature gets "
        "one verdict over all runs.",
    )
    _add_input(audit)
    _add_common(audit)
    audit.set_defaults(run=_run_audit, read=_read_files, optional_report=False)
    demo = commands.add_parser(
        "demo",
        help="audit an embedded example",
        description="Audit a small real model on scikit-learn's digits, with one routing feature "
        "that knows something and one that does not.",
    )
    _add_common(demo)
    demo.set_defaults(run=_run_audit, read=_read_demo, report=None, optional_report=True)
    _add_cache(commands)
    return parser


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        nargs="+",
        metavar="FILE",
        help="csv, tsv, parquet, feather, jsonl (also lm-evaluation-harness samples) or npz",
    )
    parser.add_argument("--target", metavar="NAME", help="true labels, or 0/1 correctness")
    parser.add_argument(
        "--confidence", nargs="+", metavar="GLOB", help="confidence, or one score per class"
    )
    parser.add_argument("--routing", nargs="+", metavar="GLOB", help="routing features")
    parser.add_argument("--group", metavar="NAME", help="rows that belong together")
    parser.add_argument(
        "--split", metavar="NAME", help="0: fit the calibrator, 1: evaluate, other: left out"
    )
    parser.add_argument("--experts", action="store_true", help="audit expert__* and gate__* too")
    parser.add_argument("--layers", action="store_true", help="audit layer__<l>__logit__* too")
    parser.add_argument(
        "--join", metavar="FILE", help="second file with routing features, matched by doc_id"
    )
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="read in chunks, rest the verdicts on a sample of rows (default: if over 1 GB)",
    )
    parser.add_argument(
        "--max-rows", type=int, default=200_000, metavar="N", help="rows of that sample"
    )
    parser.add_argument("--chunk-rows", type=int, default=1_000_000, metavar="N", help="of a chunk")


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(package="sk_arcal.audit", experts=False, layers=False)
    parser.add_argument("--report", metavar="HTML", help="write the report, one HTML page")
    parser.add_argument("--json", metavar="JSON", help="write all numbers")
    parser.add_argument("--seed", type=int, default=0, help="random seed (default: 0)")
    parser.add_argument("--n-jobs", type=int, metavar="N", help="processes; -1 uses all cores")
    parser.add_argument(
        "--delta",
        type=float,
        default=0.05,
        help="gap from which an effect would matter, in probability (default: 0.05)",
    )
    parser.add_argument(
        "--alpha", type=float, default=0.05, help="level of the tests (default: 0.05)"
    )
    parser.add_argument(
        "--controls",
        choices=("candidates", "all"),
        default="candidates",
        help="run the later controls for features that survived those before (default), or for all",
    )
    parser.add_argument(
        "--quiet", action="store_true", help="print only the verdicts, no mapping or progress"
    )


def _add_cache(commands: Any) -> None:
    parser = commands.add_parser(
        "cache",
        help="show or empty the cache of extracted rows",
        description="Say where the cache of extracted rows lies, what it holds and how large it "
        "is, or make it smaller. Networks written for worker processes lie beside the rows.",
    )
    parser.add_argument(
        "--folder", metavar="DIR", help="the cache (default: $SK_ARCAL_CACHE, or the user's cache)"
    )
    change = parser.add_mutually_exclusive_group()
    change.add_argument(
        "--evict-to",
        metavar="SIZE",
        help="remove what was not used for longest until the rest fits, e.g. 500MB or 10GB",
    )
    change.add_argument("--clear", action="store_true", help="remove all rows and networks")
    parser.set_defaults(run=_run_cache, package="sk_arcal.feature_extraction")


def _run_cache(arguments: argparse.Namespace) -> None:
    from sk_arcal.feature_extraction._cache import RowCache, format_size, overview, parse_size
    from sk_arcal.feature_extraction._sources._stored import clear_stored, stored_bytes

    cache = RowCache(arguments.folder)
    networks = cache.folder / "backbones"
    if arguments.clear:
        _say(f"{format_size(cache.clear() + clear_stored(networks))} removed.")
    elif arguments.evict_to is not None:
        _say(f"{format_size(cache.evict(parse_size(arguments.evict_to)))} removed.")
    _say(overview(cache))
    n_networks, n_bytes = stored_bytes(networks)
    if n_networks:
        _say(f"networks and tokenizers for workers: {n_networks}, {format_size(n_bytes)}")


def _run_audit(arguments: argparse.Namespace) -> None:
    _check_outputs(arguments)
    tables = arguments.read(arguments)
    if not arguments.quiet:
        # The remarks stand at the end of the summary; runs have the columns of the first.
        _say(next(iter(tables.values())).describe(notes=False) + "\n")
    audit = _audit(tables, arguments)
    _say(audit.summary())
    _write(audit, arguments)


def _read_files(arguments: argparse.Namespace) -> "dict[str, PredictionTable]":
    from sk_arcal.audit._command_files import read_files
    from sk_arcal.audit._progress_bar import progress_bar

    columns = ("target", "confidence", "routing", "group", "split")
    others = ("join", "experts", "layers", "stream", "max_rows", "chunk_rows", "seed")
    options = {name: getattr(arguments, name) for name in (*columns, *others)}
    with progress_bar(sys.stderr, quiet=arguments.quiet) as progress:
        return read_files([Path(file) for file in arguments.file], progress=progress, **options)


def _read_demo(_: argparse.Namespace) -> "dict[str, PredictionTable]":
    from sk_arcal.audit import PredictionTable
    from sk_arcal.datasets import load_routing_demo

    data = load_routing_demo()
    table = PredictionTable.from_arrays(
        data.y, logits=data.logits, routing=data.routing, routing_names=data.feature_names
    )
    return {"demo": replace(table, source="demo")}


def _audit(
    tables: "dict[str, PredictionTable]", arguments: argparse.Namespace
) -> "RoutingAudit | RunsAudit":
    from sk_arcal.audit import audit_runs, routing_audit
    from sk_arcal.audit._progress_bar import progress_bar

    with progress_bar(sys.stderr, quiet=arguments.quiet) as progress:
        options: dict[str, Any] = {
            "random_state": arguments.seed,
            "n_jobs": arguments.n_jobs,
            "delta": arguments.delta,
            "alpha": arguments.alpha,
            "controls": arguments.controls,
            "progress": progress,
        }
        if len(tables) > 1:
            return audit_runs(tables, **options)
        options |= {"experts": arguments.experts, "layers": arguments.layers}
        return routing_audit(*tables.values(), **options)


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before any long work, files that could not be written after it."""
    inputs = [*getattr(arguments, "file", ()), getattr(arguments, "join", None)]
    for option in ("report", "json"):
        path = getattr(arguments, option)
        if path is None:
            continue
        _check_writable(Path(path), f"--{option}")
        if any(name and Path(name).resolve() == Path(path).resolve() for name in inputs):
            raise ValueError(f"--{option} {path} would overwrite an input file.")
    if arguments.report is not None:
        _require_report()
    elif arguments.optional_report:
        arguments.report = _demo_report()


def _check_writable(path: Path, option: str) -> None:
    folder = path.parent
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path} is a folder; a file name is expected.")
    if not folder.is_dir():
        raise FileNotFoundError(f"{option} {path}: the folder {folder} does not exist.")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise PermissionError(f"{option} {path} cannot be written.")


def _require_report() -> None:
    for package in ("jinja2", "matplotlib"):
        import_optional(package, extra="report", caller="The report (--report)")


def _demo_report() -> str | None:
    """Return where the demo puts its report: nowhere if it was not asked for and cannot be made."""
    try:
        _require_report()
        _check_writable(Path(DEMO_REPORT), "The report")
    except (ImportError, OSError) as reason:
        _complain("no report", reason)
        return None
    return DEMO_REPORT


def _write(audit: "RoutingAudit | RunsAudit", arguments: argparse.Namespace) -> None:
    if arguments.report is not None:
        audit.to_html(arguments.report)
        _say(f"Report written to {arguments.report}")
    if arguments.json is not None:
        audit.to_json(arguments.json)
        _say(f"Numbers written to {arguments.json}")


def _say(text: str) -> None:
    """Print, whatever letters the terminal can show and whether anybody still reads."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, errors="replace").decode(encoding), flush=True)
    except BrokenPipeError:
        # The reader has seen enough, as `head` has; files that were asked for are written still.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _complain(kind: str, reason: object) -> None:
    print(f"sk-arcal: {kind}: {' '.join(str(reason).split())}", file=sys.stderr)


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show warnings as sentences, each once, without the line of code that gave them."""
    said: set[str] = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        # Every fold of a cross-validation may have the same to say.
        if str(message) not in said:
            said.add(str(message))
            _complain("warning", message)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


if __name__ == "__main__":
    sys.exit(main())
