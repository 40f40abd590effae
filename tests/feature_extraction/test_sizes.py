import pytest

from sk_arcal.feature_extraction._cache import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [
        ("0", 0),
        ("2048", 2048),
        ("12B", 12),
        ("500MB", 500_000_000),
        ("10 GB", 10**10),
        ("1.5gb", 1_500_000_000),
        (" 2 kB ", 2000),
        ("1TB", 10**12),
        ("1KiB", 1024),
        ("0.5 MiB", 2**19),
        ("3GiB", 3 * 2**30),
        ("1TiB", 2**40),
    ],
)
def test_size_is_read(text, n_bytes):
    assert parse_size(text) == n_bytes


@pytest.mark.parametrize("text", ["", "GB", "-1", "1e9", "ten MB", "5 XB", "1 G B", "1,5 GB", "٣"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ValueError, match="is no size; write it as 500MB, 10GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (61_440_000, "61.4 MB"),
        (999_499, "999 kB"),
        (999_501, "1 MB"),
        (10**10, "10 GB"),
        (2 * 10**15, "2e+03 TB"),
    ],
)
def test_size_is_written_with_three_digits(n_bytes, text):
    assert format_size(n_bytes) == text
    assert parse_size(format_size(61_440_000)) == 61_400_000
