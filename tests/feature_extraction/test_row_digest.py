from hashlib import blake2b

import numpy as np
import pytest

from sk_arcal.feature_extraction._cache import _row_digest, row_digests
from tests.feature_extraction.cache_rows import finish, start


def hexes(rows):
    return [bytes(digest).hex() for digest in row_digests(rows)]


def blake(content):
    return blake2b(content, digest_size=16).hexdigest()


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(7, 4, 3)).astype(np.float32)


# --- definition ----------------------------------------------------------------------------------


def test_digest_of_an_array_is_blake2b_of_its_kind_and_bytes(images):
    head = b"array <f4 (4, 3)\0"
    assert hexes(images) == [blake(head + image.tobytes()) for image in images]


def test_digest_of_a_text_is_blake2b_of_its_utf8():
    texts = ["", "one", "zwölf", "数"]
    assert hexes(texts) == [blake(b"text\0" + text.encode()) for text in texts]


def test_digest_of_tokens_is_blake2b_of_them_as_int64():
    sequences = [np.array([1, 2, 3]), np.array([-1])]
    assert hexes(sequences) == [blake(b"integers\0" + s.astype("<i8").tobytes()) for s in sequences]


def test_result_is_an_array_of_bytes_of_its_own(images):
    digests = row_digests(images)
    assert (digests.shape, digests.dtype) == ((7, 16), np.uint8)
    digests[:] = 0


# --- what does not matter ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: a[::-1].copy()[::-1],
        lambda a: np.ascontiguousarray(a.transpose(2, 1, 0)).transpose(2, 1, 0),
        lambda a: a.astype(">f4"),
        lambda a: np.ma.asarray(a).data,
    ],
    ids=["Fortran", "every second row", "every second column", "reversed", "turned", "big", "ma"],
)
def test_order_in_memory_does_not_matter(images, view):
    assert hexes(view(images)) == hexes(images)


def test_constant_row_that_takes_no_memory():
    row = np.arange(3.0)
    assert hexes(np.broadcast_to(row, (4, 3))) == hexes(row[None]) * 4


def test_array_on_disk_is_as_one_in_memory(images, tmp_path):
    np.save(tmp_path / "x.npy", images)
    assert hexes(np.load(tmp_path / "x.npy", mmap_mode="r")) == hexes(images)


@pytest.mark.parametrize("n_bytes", [1, 48, 100, 10_000])
def test_size_of_the_blocks_does_not_matter(images, n_bytes, monkeypatch):
    expected = hexes(images)
    monkeypatch.setattr(_row_digest, "_BLOCK", n_bytes)
    assert hexes(images[:, ::-1][:, ::-1]) == expected


def test_other_rows_do_not_matter(images):
    assert hexes(images[[3, 1]]) == [hexes(images)[3], hexes(images)[1]]


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "i4", "u4", "i8", "u8", ">i4"])
def test_kind_of_integer_of_tokens_does_not_matter(dtype):
    assert hexes([np.array([1, 2, 100], dtype=dtype), [5]]) == hexes([[1, 2, 100], (5,)])


@pytest.mark.parametrize("kind", [tuple, np.array, lambda t: np.array(t, dtype=object)])
def test_texts_in_a_list_or_an_array(kind):
    texts = ["a", "longer", ""]
    assert hexes(kind(texts)) == hexes(texts)


def test_ragged_tokens_in_an_array_of_objects():
    sequences = np.empty(2, dtype=object)
    sequences[:] = [np.array([1, 2]), np.array([3])]
    assert hexes(sequences) == hexes(list(sequences))


# --- what matters --------------------------------------------------------------------------------


def test_every_element_matters(images):
    before = hexes(images[:1])[0]
    for at in np.ndindex(images[0].shape):
        changed = images[:1].copy()
        changed[(0, *at)] = np.nextafter(changed[(0, *at)], np.inf)
        assert hexes(changed)[0] != before


def test_kind_and_shape_matter():
    zeros = [
        np.zeros((1, 8), dtype=kind)
        for kind in ("?", "u1", "i1", "f2", "i2", "f4", "i4", "f8", "i8", "c8")
    ]
    shaped = [np.zeros((1, *shape)) for shape in ((8, 1), (1, 8), (2, 4), (4, 2), (2, 2, 2))]
    lists = [["\0" * 8], [[0]], [[0] * 8]]
    found = [hexes(rows)[0] for rows in (*zeros, *shaped, *lists)]
    assert len(set(found)) == len(found)


def test_texts_differ_by_every_character():
    texts = ["a", "a ", " a", "A", "á", "a\u0301", "a\0", "", "\ud800", "\udfff"]
    assert len(set(hexes(texts))) == len(texts)


def test_tokens_differ_by_order_and_length():
    sequences = [[1, 2], [2, 1], [1], [1, 2, 0], [0, 1, 2], [], [-1]]
    assert len(set(hexes(sequences))) == len(sequences)


# --- the ends ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [[], (), np.empty((0, 3)), np.empty(0), np.empty(0, dtype="U1")])
def test_no_rows_have_no_digests(rows):
    assert row_digests(rows).shape == (0, 16)


def test_rows_without_columns_are_equal():
    assert len(set(hexes(np.empty((3, 0))))) == 1


def test_rows_of_one_number():
    assert hexes(np.array([1.0, 2.0])) == [
        blake(b"array <f8 ()\0" + np.float64(number).tobytes()) for number in (1, 2)
    ]


# --- stability -----------------------------------------------------------------------------------

# Computed by this function on 2026-11-22, x86-64, Python 3.11, numpy 2.4. If they change, every
# cache that users have is lost: raise the format of the cache, and say so in the change log.
STORED = {
    "array": "caf66ec0b136201c7ed5103e7529e368",
    "text": "cad752ba0c2aaa39ad90cf9b8027bbc0",
    "tokens": "73d61ef3d06650d0bf5fae7909640858",
}
ROWS = {
    "array": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    "text": ["routing"],
    "tokens": [[101, 7592, 102]],
}


@pytest.mark.parametrize("kind", STORED)
def test_digest_is_the_stored_one(kind):
    assert hexes(ROWS[kind]) == [STORED[kind]]


def test_digest_is_the_same_in_another_process(monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "12345")
    code = """
from sk_arcal.feature_extraction._cache import row_digests
rows = np.arange(6, dtype=np.float32).reshape(1, 2, 3), ["routing"], [[101, 7592, 102]]
print(*(bytes(row_digests(some)[0]).hex() for some in rows))
"""
    assert finish(start(code)).split() == list(STORED.values())


# --- refusals ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        ("a text", TypeError, "got str"),
        (b"bytes", TypeError, "got bytes"),
        ({1, 2}, TypeError, "got set"),
        (None, TypeError, "got NoneType"),
        (np.float64(3), TypeError, "got float64"),
        (np.array(3.0), ValueError, "a single number"),
        (np.array(["2026-01-01"], dtype="M8[D]"), TypeError, "datetime64"),
        (np.zeros(2, dtype=[("a", "f8")]), TypeError, "must hold numbers"),
        (np.zeros((2, 2), dtype=object), TypeError, "must hold numbers; got an array of object"),
        (np.zeros((2, 2), dtype=np.longdouble), TypeError, "must hold numbers"),
        (["a", 3], TypeError, "Row 1 to digest is a int, the first is a text"),
        ([[1], "a"], TypeError, "Row 1 to digest must be a sequence of integers"),
        ([[1], [1.5]], TypeError, "Row 1 .* got \\[1.5\\]"),
        ([[True]], TypeError, "Row 0"),
        ([[2**70]], TypeError, "Row 0"),
        ([[[1, 2]]], ValueError, r"Row 0 to digest must be 1-dimensional; got \(1, 2\)"),
        ([np.array([2**63], dtype=np.uint64)], ValueError, "9223372036854775808, beyond"),
    ],
)
def test_other_rows_are_refused(rows, error, message):
    with pytest.raises(error, match=message):
        row_digests(rows)
