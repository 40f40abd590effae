"""What a cache holds, in words."""

import contextlib
import json
import time
from pathlib import Path

from sk_arcal.feature_extraction._cache._eviction import namespaces, stored_shards
from sk_arcal.feature_extraction._cache._row_cache import RowCache
from sk_arcal.feature_extraction._cache._row_table import SETTINGS_FILE
from sk_arcal.feature_extraction._cache._shard import DamagedShardError, open_shard
from sk_arcal.feature_extraction._cache._sizes import format_size
from sk_arcal.feature_extraction._documents import read_document


def overview(cache: RowCache) -> str:
    """Return lines on the cache as a whole and on each of its namespaces."""
    parts, all_rows, all_bytes = [], 0, 0
    for folder in namespaces(cache.folder / "rows"):
        shards = stored_shards(folder)
        n_rows = sum(_count_rows(Path(shard.path)) for shard in shards)
        n_bytes = sum(shard.n_bytes for shard in shards)
        parts.append(f"\n{folder.name}: {_amount(n_rows, n_bytes)}")
        if shards:
            last = time.localtime(max(shard.last_use for shard in shards) / 1e9)
            parts.append(f", last used {time.strftime('%Y-%m-%d %H:%M', last)}")
        parts += [f"\n  {line}" for line in _settings(folder)]
        all_rows, all_bytes = all_rows + n_rows, all_bytes + n_bytes
    n = len(namespaces(cache.folder / "rows"))
    total = f"{n} namespace{'' if n == 1 else 's'}, {_amount(all_rows, all_bytes)}"
    return f"{cache.folder}: {total}" + "".join(parts)


def _amount(n_rows: int, n_bytes: int) -> str:
    return f"{n_rows} row{'' if n_rows == 1 else 's'}, {format_size(n_bytes)}"


def _count_rows(path: Path) -> int:
    with contextlib.suppress(OSError, DamagedShardError):
        return open_shard(path)[0].shape[0]
    return 0


def _settings(folder: Path) -> list[str]:
    try:
        document = read_document(folder / SETTINGS_FILE)
        settings = dict(document["settings"])
    except (OSError, ValueError, TypeError, KeyError):
        return [f"without readable {SETTINGS_FILE}"]
    return [f"{name}: {json.dumps(value)}" for name, value in settings.items()]
