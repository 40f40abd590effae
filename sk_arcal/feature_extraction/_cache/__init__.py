"""Rows once extracted, found by content: a grid search forwards each row of input once.

A cache is a folder. Below ``rows`` lies one folder for each namespace, named by a hash of the
settings that its rows depend on, and in it:

``settings.json``
    These settings in clear text.
``layout.json``
    What the columns of a row mean.
``<uuid>.shard``
    Rows that were written together, each with the digest of the input it belongs to.

A shard is written under another name and renamed once it is whole, and is never changed after
that. So processes need no locks: what they see is complete, what vanishes counts as absent, and
the worst that two of them can do is the same work.
"""

from sk_arcal.feature_extraction._cache._overview import overview
from sk_arcal.feature_extraction._cache._row_cache import RowCache
from sk_arcal.feature_extraction._cache._row_digest import row_digests
from sk_arcal.feature_extraction._cache._row_table import RowTable
from sk_arcal.feature_extraction._cache._sizes import format_size, parse_size

__all__ = ["RowCache", "RowTable", "format_size", "overview", "parse_size", "row_digests"]
