"""From the parameters of the extractor to checked settings and an open source of records."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sk_arcal._routing import TOKEN_REDUCTIONS
from sk_arcal._validation import check_integer, check_option, import_optional
from sk_arcal.feature_extraction._backbone import Backbone
from sk_arcal.feature_extraction._cache._row_cache import RowCache
from sk_arcal.feature_extraction._extraction._record import OUTPUTS
from sk_arcal.feature_extraction._extraction._run import ForgetfulTable, RecordSource, Table
from sk_arcal.feature_extraction._extraction._settings import ExtractionSettings
from sk_arcal.feature_extraction._extraction._worker import in_worker_process

_MISSES = ("auto", "compute", "raise")
_DTYPES = ("float16", "bfloat16")
_SIDES = ("left", "right")


_S = TypeVar("_S", bound=RecordSource)


def as_backbone(given: Any, caller: str = "RoutingFeatureExtractor") -> Backbone:
    """Return the backbone; a module is wrapped."""
    if isinstance(given, Backbone):
        return given
    if given is None:
        raise ValueError("`backbone` is missing: pass a Backbone or a torch module.")
    torch = import_optional("torch", extra="torch", caller=caller)
    if isinstance(given, torch.nn.Module):
        return Backbone(given)
    raise TypeError(f"`backbone` must be a Backbone or a torch module; got {given!r}.")


def check_parameters(extractor: Any) -> None:
    """Refuse parameters that cannot be used with any network."""
    if extractor.outputs is not None:
        check_option("outputs", extractor.outputs, OUTPUTS)
    check_option("token_reduction", extractor.token_reduction, TOKEN_REDUCTIONS)
    check_common(extractor)


def check_common(extractor: Any) -> None:
    """Refuse parameters that extractors share, of how rows are forwarded and kept."""
    for name, allowed in (("dtype", _DTYPES), ("padding_side", _SIDES)):
        if getattr(extractor, name) is not None:
            check_option(name, getattr(extractor, name), allowed)
    check_option("on_miss", extractor.on_miss, _MISSES)
    check_integer("batch_size", extractor.batch_size, low=1)
    for name, low in (("max_length", 1), ("pad_token_id", 0), ("cache_max_bytes", 1)):
        if getattr(extractor, name) is not None:
            check_integer(name, getattr(extractor, name), low=low)
    if not isinstance(extractor.device, str | None):
        raise TypeError(
            f"`device` must be the name of a torch device, such as 'cuda'; got "
            f"{extractor.device!r}."
        )
    if not isinstance(extractor.cache, (bool, str, Path)):
        raise TypeError(f"`cache` must be True, False or a folder; got {extractor.cache!r}.")
    if extractor.preprocess is not None and not callable(extractor.preprocess):
        raise TypeError(f"`preprocess` must be callable; got {extractor.preprocess!r}.")


def settings_of(extractor: Any, backbone: Backbone) -> ExtractionSettings:
    """Return how to forward, and what to keep."""
    wants_last_token = extractor.outputs in ("options", "confidence")
    return ExtractionSettings(
        outputs=extractor.outputs,
        option_ids=option_ids_of(extractor, backbone),
        token_reduction=extractor.token_reduction,
        dtype=extractor.dtype,
        device=extractor.device,
        padding_side=extractor.padding_side or ("left" if wants_last_token else "right"),
        pad_token_id=pad_token_id_of(extractor.pad_token_id, backbone),
        preprocess=extractor.preprocess,
    )


def option_ids_of(extractor: Any, backbone: Backbone) -> tuple[int, ...]:
    """Return the numbers of the option tokens."""
    options = extractor.option_tokens
    if extractor.outputs != "options":
        if options is not None:
            raise ValueError("`option_tokens` is given, but `outputs` is not 'options'.")
        return ()
    if options is None or isinstance(options, str) or len(options) < 2:
        raise ValueError(f"outputs='options' needs at least two `option_tokens`; got {options!r}.")
    ids = tuple(_token_id(option, backbone.tokenizer) for option in options)
    if len(set(ids)) != len(ids):
        raise ValueError(f"`option_tokens` {list(options)} are the tokens {ids}; they must differ.")
    return ids


def _token_id(option: Any, tokenizer: Any) -> int:
    if not isinstance(option, str):
        return check_integer("option_tokens", option, low=0)
    if tokenizer is None:
        raise ValueError(
            f"`option_tokens` holds the text {option!r}, but the backbone has no tokenizer. Give "
            "token numbers, or Backbone(module, tokenizer=tokenizer)."
        )
    ids = tokenizer(option, add_special_tokens=False)["input_ids"]
    if len(ids) != 1:
        raise ValueError(
            f"`option_tokens` holds {option!r}, which is {len(ids)} tokens, {list(ids)}; each must "
            "be one. A space before it often makes the difference."
        )
    return int(ids[0])


def pad_token_id_of(given: int | None, backbone: Backbone) -> int:
    """Return the token to fill up with."""
    known = given if given is not None else getattr(backbone.tokenizer, "pad_token_id", None)
    return 0 if known is None else int(known)


def open_table(extractor: Any, backbone: Backbone, settings: ExtractionSettings) -> Table:
    """Return where the records of these settings are kept."""
    if extractor.cache is False:
        return ForgetfulTable()
    folder = None if extractor.cache is True else Path(extractor.cache)
    cache = RowCache(folder, max_bytes=extractor.cache_max_bytes)
    return cache.namespace(settings.cache_key(backbone))


def may_forward(on_miss: str, device: str) -> bool:
    """Whether this process may forward rows that are not in the cache."""
    if on_miss == "auto":
        return device.split(":")[0] == "cpu" or not in_worker_process()
    return on_miss == "compute"


@contextmanager
def open_source(extractor: Any, n_rows: int, progress: bool) -> Iterator[RecordSource]:
    """Yield a source of records for the parameters of an extractor, with a bar if wanted.

    Parameters
    ----------
    extractor : RoutingFeatureExtractor
        With `backbone_`; its parameters are checked.
    n_rows : int
        Rows to come, for the bar.
    progress : bool
        Whether to show it.
    """
    check_parameters(extractor)
    settings = settings_of(extractor, extractor.backbone_)
    with opened_source(RecordSource, extractor, settings, n_rows, progress) as source:
        yield source


@contextmanager
def opened_source(
    kind: type[_S], extractor: Any, settings: ExtractionSettings, n_rows: int, progress: bool
) -> Iterator[_S]:
    """Yield a source of some kind, with a bar if wanted.

    Parameters
    ----------
    kind : type
        RecordSource, or one derived from it.
    extractor : object
        With `backbone_` and the parameters of how rows are kept.
    settings : ExtractionSettings
        How to forward, and what to keep.
    n_rows : int
        Rows to come, for the bar.
    progress : bool
        Whether to show it.
    """
    backbone = extractor.backbone_
    bar = _bar(n_rows) if progress else None
    try:
        yield kind(
            backbone,
            settings,
            open_table(extractor, backbone, settings),
            batch_size=extractor.batch_size,
            may_forward=may_forward(extractor.on_miss, extractor.device or backbone.device),
            progress=bar.update if bar is not None else _ignore,
        )
    finally:
        if bar is not None:
            bar.close()


def _bar(n_rows: int) -> Any:
    tqdm = import_optional("tqdm.auto", extra="torch", caller="The progress bar")
    return tqdm.tqdm(total=n_rows, unit="row", desc="extract")


def _ignore(_: int) -> None:
    """Stand in for a bar."""
