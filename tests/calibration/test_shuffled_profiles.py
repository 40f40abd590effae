import numpy as np
import pytest
from scipy.stats import chisquare, kstest

from sk_arcal.calibration._network._shuffled_profiles import ProfilePool, hashed_uniform

N = 3000


@pytest.fixture
def pool_data():
    """Log-odds and a profile of two columns, of which the second is the row's number."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    return z, np.column_stack([z + rng.normal(size=N), np.arange(N)])


def fitted(z, profiles, weight=None, n_bins=15, seed=0):
    weight = np.ones(len(z)) if weight is None else weight
    rng = np.random.default_rng(seed)
    return ProfilePool.fit(z, profiles, weight, n_bins=n_bins, rng=rng)


def bin_of(pool, z):
    return np.searchsorted(pool.edges, z, side="right")


EVERY = np.array([0, 1])


def test_bins_hold_equal_weight():
    rng = np.random.default_rng(0)
    z, weight = rng.normal(size=N), rng.random(N)
    pool = fitted(z, z[:, None], weight)
    mass = np.bincount(bin_of(pool, z), weight)
    assert len(mass) == 15
    np.testing.assert_allclose(mass, weight.sum() / 15, atol=1.0)


def test_permuting_moves_whole_profiles_within_their_bins(pool_data):
    z, profiles = pool_data
    pool = fitted(z, profiles)
    shuffled = pool.permute(z, profiles, np.random.default_rng(1))
    donor = shuffled[:, 1].astype(int)
    np.testing.assert_array_equal(np.sort(donor), np.arange(N))
    np.testing.assert_array_equal(shuffled, profiles[donor])
    np.testing.assert_array_equal(bin_of(pool, z[donor]), bin_of(pool, z))
    assert (donor == np.arange(N)).mean() < 0.02


def test_borrowed_profiles_are_whole_and_of_the_bin(pool_data):
    z, profiles = pool_data
    pool = fitted(z, profiles)
    borrowed = pool.borrow(z, profiles, EVERY)
    donor = borrowed[:, 1].astype(int)
    np.testing.assert_array_equal(borrowed, profiles[donor])
    np.testing.assert_array_equal(bin_of(pool, z[donor]), bin_of(pool, z))


def test_borrowing_does_not_depend_on_the_other_rows(pool_data):
    z, profiles = pool_data
    pool = fitted(z, profiles)
    together = pool.borrow(z, profiles, EVERY)
    alone = [pool.borrow(z[i : i + 1], profiles[i : i + 1], EVERY)[0] for i in range(50)]
    np.testing.assert_array_equal(together[:50], alone)


def test_borrowing_follows_the_weights():
    z, profiles = np.zeros(4), np.arange(4.0)[:, None]
    pool = fitted(z, profiles, np.array([1.0, 2.0, 0.5, 4.5]))
    own = np.random.default_rng(0).normal(size=(8000, 1))
    borrowed = pool.borrow(np.zeros(8000), own, np.array([0]))
    counts = np.bincount(borrowed[:, 0].astype(int), minlength=4)
    assert chisquare(counts, 1000 * np.array([1.0, 2.0, 0.5, 4.5])).pvalue > 1e-3


@pytest.mark.parametrize("n_levels", [2, 3])
def test_few_levels_of_routing_do_not_leak_into_what_is_borrowed(n_levels):
    rng = np.random.default_rng(0)
    z, level = rng.normal(size=20_000), rng.integers(0, n_levels, (20_000, 1)).astype(float)
    borrowed = fitted(z, level).borrow(z, level, np.array([0]))
    table = np.histogram2d(level[:, 0], borrowed[:, 0], bins=n_levels)[0]
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    # quantiles 0.999 of chi-square with 1 and 4 degrees of freedom
    statistic = ((table - expected) ** 2 / expected).sum()
    assert statistic < {2: 10.8, 3: 18.5}[n_levels]


def test_fit_and_prediction_shuffle_independently(pool_data):
    z, profiles = pool_data
    pool = fitted(z, profiles)
    permuted = pool.permute(z, profiles, np.random.default_rng(1))[:, 1]
    borrowed = pool.borrow(z, profiles, EVERY)[:, 1]
    assert (permuted == borrowed).mean() < 0.02


def test_seed_changes_what_is_borrowed(pool_data):
    z, profiles = pool_data
    first, second = (fitted(z, profiles, seed=s).borrow(z, profiles, EVERY) for s in (0, 1))
    assert (first[:, 1] == second[:, 1]).mean() < 0.02


def test_few_rows_share_a_bin():
    z = np.arange(25.0)
    assert len(fitted(z, z[:, None]).edges) == 1
    assert len(fitted(z[:9], z[:9, None]).edges) == 0


@pytest.mark.parametrize("z", [np.zeros(200), np.repeat([0.0, 1.0], [195, 5])], ids=["one", "two"])
def test_tied_confidence_makes_no_empty_bin(z):
    pool = fitted(z, np.arange(200.0)[:, None])
    assert (np.diff(pool.starts) > 0).all()
    borrowed = pool.borrow(np.array([-9.0, 9.0]), np.zeros((2, 1)), np.array([0]))
    assert np.isin(borrowed, np.arange(200)).all()


@pytest.mark.parametrize("column", [0, 1])
def test_hash_is_uniform_in_every_argument(column):
    arguments = np.zeros((20_000, 2))
    arguments[:, column] = np.arange(20_000) / 7
    assert kstest(hashed_uniform(3, arguments[:, 0], arguments[:, 1:]), "uniform").pvalue > 1e-3


def test_hash_ignores_the_last_bits_and_the_sign_of_zero():
    z, r = np.array([0.0, 1.0]), np.array([[0.5], [0.0]])
    near = np.array([-0.0, 1 + 1e-14]), np.array([[0.5 - 1e-14], [-0.0]])
    np.testing.assert_array_equal(hashed_uniform(1, z, r), hashed_uniform(1, *near))


def test_hash_takes_numbers_of_any_size():
    values = np.array([1e300, -1e300, 1e-310])
    number = hashed_uniform(1, values, values[:, None])
    assert ((number >= 0) & (number < 1)).all()
