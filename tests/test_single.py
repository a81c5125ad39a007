"""Single precision: the bound on its error holds, it is used where it can be, and it changes nothing else."""

import numpy as np
import pytest
from engines import constants, make_pooler, pool
from hypothesis import example, given
from hypothesis import strategies as st
from samples import SCATTER, WEIGHTS, assert_close, assert_same_results, spread

import sknw
from sknw import NadarayaWatsonClassifier, NadarayaWatsonRegressor
from sknw._engines.blocks.leaves import KeyTree
from sknw._engines.blocks.single import LOOSE, SingleLeaves, _differentiate
from sknw._engines.dense.gradient import derivative_sums
from sknw._engines.dense.keys import Keys
from sknw._engines.dense.mixed import collect_mixed
from sknw._engines.dense.single import MOST_ERROR, SINGLE_TOL, UNIT, collect_single, is_able
from sknw._engines.dense.single_keys import exponential
from sknw._kernels import KERNELS
from sknw._problem import Problem

WEIGHTS = WEIGHTS | {"light": lambda rng, n: np.r_[1.0, 1.0, np.exp(rng.uniform(-200, 0, size=n))][:n]}
EXPONENTIALS = [(np.exp, 1.0), (np.exp2, np.log(2))]
"""Both, whichever is faster here."""

VALUES = {
    "normal": lambda rng, n: rng.normal(size=(n, 2)),
    "offset": lambda rng, n: 1e6 + rng.normal(size=(n, 2)),
    "heavy": lambda rng, n: rng.standard_cauchy(size=(n, 1)),
    "classes": lambda rng, n: np.eye(5)[rng.integers(0, 5, size=n)],
    "constant": lambda rng, n: np.column_stack([np.full(n, 3.0), rng.random(n)]),
}


def test_the_exponential_is_one_of_two():
    assert exponential() in EXPONENTIALS


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.sampled_from([1, 2, 3, 10, 40]),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    value=st.sampled_from(sorted(VALUES)),
    bandwidth=st.floats(-2, 2).map(lambda power: 10.0**power),
    tol=st.sampled_from([SINGLE_TOL, 1e-4, 1e-2]),
)
@example(1135, 2, "cauchy", "light", "heavy", 10**-0.625, SINGLE_TOL)
def test_results_keep_tol(seed, d, scatter, weighting, value, bandwidth, tol):
    check_tol(seed, d, scatter, weighting, value, bandwidth, tol)


@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.sampled_from([2, 10, 40, 100]),
    scatter=st.sampled_from(sorted(SCATTER)),
    weighting=st.sampled_from(sorted(WEIGHTS)),
    value=st.sampled_from(sorted(VALUES)),
    bandwidth=st.floats(-1, 1).map(lambda power: 10.0**power),
    tol=st.sampled_from([SINGLE_TOL, 1e-4, 1e-2]),
)
def test_results_in_mixed_precision_keep_tol(seed, d, scatter, weighting, value, bandwidth, tol):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sknw._engines.dense.collect.may_be_single", lambda pairs, tol: False)
        patch.setattr("sknw._engines.dense.collect.may_be_mixed", lambda pairs, tol: is_able(pairs, tol))
        check_tol(seed, d, scatter, weighting, value, bandwidth, tol)


def check_tol(seed, d, scatter, weighting, value, bandwidth, tol):
    """Check predictions for some rows, and with each row left out."""
    rng = np.random.default_rng(seed)
    keys, queries = np.split(SCATTER[scatter](rng, 330, d), [300])
    values, weights, queries = VALUES[value](rng, 300), WEIGHTS[weighting](rng, 300), np.r_[queries, 3 * queries]
    pooler = make_pooler("dense", keys, values, weights, "gaussian", bandwidth * spread(keys), tol)
    for asked in (queries, None):
        (expected, mass), (found, found_mass) = pool(pooler, asked), pool(pooler, asked, tol=tol)
        assert_close(found, expected, values[weights > 0], tol + 1e-11)
        np.testing.assert_allclose(found_mass, mass, rtol=1e-9, atol=max(MOST_ERROR, 2 * tol))


def clouds(rng, d, radius):
    """Two clouds on a diagonal, where the rounding of features adds up."""
    keys = rng.normal(size=(700, d)) / max(1, d / 3) ** 0.5 + radius * rng.choice([-1, 1], (700, 1)) / d**0.5
    return keys, keys[:200] + 0.1 * rng.normal(size=(200, d))


def couples(rng, d, radius):
    """Couples of keys far from each other, and from the centre: each has half of the attention of a query."""
    middles = rng.normal(size=(350, d))
    middles *= radius / np.linalg.norm(middles, axis=1, keepdims=True)
    steps = rng.normal(size=(350, d)) / d**0.5
    return np.r_[middles + steps, middles - steps], middles[:200]


@pytest.mark.parametrize("exp", EXPONENTIALS)
@pytest.mark.parametrize("scatter", [clouds, couples])
@pytest.mark.parametrize("value", ["normal", "classes"])
@pytest.mark.parametrize("d", [1, 3, 10, 30])
def test_errors_are_within_their_bound(d, value, scatter, exp, monkeypatch):
    monkeypatch.setattr("sknw._engines.dense.single_keys.exponential", lambda: exp)
    rng = np.random.default_rng(d)
    largest = np.sqrt(MOST_ERROR / UNIT / (d + 3))
    for share in (0.0, 0.3, 0.8):
        keys, queries = scatter(rng, d, share * largest)
        problem = Problem(keys, VALUES[value](rng, 700), np.ones(700))
        columns, log_mass, error, _ = collect_single(Keys(problem, KERNELS["gaussian"], np.ones(d)).pairs(queries))
        values = problem.means(problem.columns)
        expected, mass = pool(make_pooler("dense", keys, values), queries)
        actual = np.abs((problem.means(columns) - expected) / np.ptp(values, axis=0)).max(axis=1)
        known = np.isfinite(error)
        assert known.mean() > 0.4
        assert (actual[known] <= error[known]).all()
        assert (np.abs(log_mass - mass)[known] <= MOST_ERROR).all()


@pytest.mark.parametrize("scatter", [clouds, couples])
@pytest.mark.parametrize("value", ["normal", "classes"])
@pytest.mark.parametrize("d", [3, 30, 100])
def test_errors_in_mixed_precision_are_within_their_bound(d, value, scatter):
    rng = np.random.default_rng(d)
    largest = np.sqrt(MOST_ERROR / UNIT / (d + 3))
    for share in (0.3, 1.0, 1.5):
        keys, queries = scatter(rng, d, share * largest)
        weights = np.r_[1.0, 10.0 ** rng.uniform(-6, 0, size=699)]
        values = VALUES[value](rng, 700)
        pooler = make_pooler("dense", keys, values, weights)
        problem = Problem(keys, values, weights)
        pairs = Keys(problem, KERNELS["gaussian"], np.ones(d)).pairs(queries)
        columns, log_mass, error, _ = collect_mixed(pairs, SINGLE_TOL)
        expected, mass = pool(pooler, queries)
        actual = np.abs((problem.means(columns) - expected) / np.ptp(values, axis=0)).max(axis=1)
        known = np.isfinite(error)
        assert known.mean() > 0.1
        assert (actual[known] <= error[known]).all()
        assert (np.abs(log_mass - mass)[known] <= MOST_ERROR).all()


def covariances(sums):
    """The derivatives (b, n_used, n_values) of means by log h."""
    mass, means = sums.columns[:, -1:], sums.columns[:, :-1] / sums.columns[:, -1:]
    return (sums.derivatives[:, :, :-1] - means[:, None] * sums.derivatives[:, :, -1:]) / mass[:, None]


LEAVES = {
    "clouds": lambda rng, d: clouds(rng, d, 20.0),
    "couples": lambda rng, d: couples(rng, d, 4.0),
    "offset": lambda rng, d: [1e8 + points for points in clouds(rng, d, 20.0)],
    "heavy tails": lambda rng, d: np.split(rng.standard_t(3, size=(900, d)), [700]),
    "lattice": lambda rng, d: np.split(rng.integers(-3, 4, size=(900, d)) / 2, [700]),
}


@pytest.mark.parametrize("exp", EXPONENTIALS)
@pytest.mark.parametrize("scatter", sorted(LEAVES))
@pytest.mark.parametrize("value", ["normal", "offset", "heavy", "classes"])
@pytest.mark.parametrize("d", [1, 3, 10])
def test_leaves_are_within_their_bound(d, value, scatter, exp, monkeypatch):
    monkeypatch.setattr("sknw._engines.blocks.single.exponential", lambda: exp)
    rng, n_known = np.random.default_rng(d), 0
    keys, queries = LEAVES[scatter](rng, d)
    problem = Problem(keys, VALUES[value](rng, 700), WEIGHTS["importances"](rng, 700))
    of_keys = Keys(problem, KERNELS["gaussian"], np.ones(d))
    tree, pairs = KeyTree(of_keys), of_keys.pairs(queries)
    single, all_leaves, nowhere = SingleLeaves(tree), np.arange(len(tree.leaves.counts)), np.full(40, -1)
    assert single.are_narrow(all_leaves)
    for rows in np.array_split(np.lexsort(queries.T), 5):
        block = pairs.take(rows)
        found = single.known(single.sums(all_leaves, block, nowhere, True), True)
        expected, known = derivative_sums(block), found.error < 1e-3
        scale = np.ptp(problem.means(problem.columns), axis=0)
        off = np.abs(problem.means(found.columns) - problem.means(expected.columns)) / scale
        assert (off.max(axis=1) <= found.error)[known].all()
        assert (np.abs(found.log_mass - expected.log_mass) <= MOST_ERROR)[known].all()
        off = np.abs(covariances(found.as_sums()) - covariances(expected)) / scale
        assert (off.max(axis=(1, 2)) <= LOOSE * found.error)[known].all()
        n_known += known.sum()
    assert n_known > 80


@pytest.mark.parametrize("distance", [3e3, 1e9, 1e200])
def test_leaves_with_a_far_key_are_too_wide(distance):
    keys = np.r_[[[distance, 0.0]], np.random.default_rng(0).normal(size=(300, 2))]
    of_keys = Keys(Problem(keys, keys[:, 1:], np.ones(301)), KERNELS["gaussian"], np.ones(2))
    tree = KeyTree(of_keys)
    single, leaf = SingleLeaves(tree), np.flatnonzero(tree.order == 0) // tree.leaves.size
    others = np.delete(np.arange(len(tree.leaves.counts)), leaf)
    assert not single.are_narrow(leaf)
    assert single.are_narrow(others)


@pytest.mark.parametrize("weighting", sorted(WEIGHTS))
@pytest.mark.parametrize("value", ["normal", "offset", "classes"])
def test_gradients_of_blocks_are_in_single_precision(value, weighting, monkeypatch):
    rng, n, tried = np.random.default_rng(0), 900, []
    keys, values, weights = 100 + rng.normal(size=(n, 3)), VALUES[value](rng, n), WEIGHTS[weighting](rng, n)
    slopes = rng.random(values.shape) / np.ptp(values, axis=0)

    def gradient(engine, tol):
        pooler = make_pooler(engine, keys, values, weights, "gaussian", 0.3, tol)
        return pooler.gradient(lambda _, places: slopes[places], tol=tol)

    exact_pooled, exact = gradient("dense", 1e-10)
    monkeypatch.setattr(
        "sknw._engines.blocks.single._differentiate", lambda *found: tried.append(1) or _differentiate(*found)
    )
    with constants("blocks for few keys"):
        pooled, found = gradient("blocks", SINGLE_TOL)
    assert len(tried) > 0
    assert_close(pooled.values, exact_pooled.values, values[weights > 0], SINGLE_TOL)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-5 * slopes.size)


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("d", [1, 3, 8])
def test_few_queries_are_left_to_double_precision(d, leave_one_out, monkeypatch):
    rng, left = np.random.default_rng(d), []
    keys, queries = rng.normal(size=(2000, d)), rng.normal(size=(500, d))
    values = np.sin(keys).mean(axis=1) + 0.1 * rng.normal(size=2000)
    model = NadarayaWatsonRegressor(algorithm="dense", tol=SINGLE_TOL).fit(keys, values)
    collect = sknw._engines.dense.collect._collect
    monkeypatch.setattr(
        "sknw._engines.dense.collect._collect", lambda pairs, *rest: left.append(len(pairs)) or collect(pairs, *rest)
    )
    model.predict(None if leave_one_out else queries)
    assert sum(left) < 0.1 * (2000 if leave_one_out else 500)
    left.clear()
    model.set_params(tol=SINGLE_TOL / 2).predict(queries)
    assert sum(left) == 500


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize(
    ("d", "bandwidth", "is_tried"), [(60, 0.7, True), (70, 0.75, True), (60, 1.3, False), (30, 0.7, False)]
)
def test_mixed_precision_is_tried_where_few_keys_matter(d, bandwidth, is_tried, leave_one_out, monkeypatch):
    rng, tried, left = np.random.default_rng(d), [], []
    keys, queries = rng.normal(size=(6400, d)), rng.normal(size=(300, d))
    pooler = make_pooler("dense", keys, np.sin(keys[:, :1]), None, "gaussian", bandwidth)
    asked = None if leave_one_out else queries
    expected, mass = pool(pooler, asked)
    collect = sknw._engines.dense.collect._collect
    monkeypatch.setattr(
        "sknw._engines.dense.collect.collect_mixed",
        lambda pairs, tol: tried.append(len(pairs)) or collect_mixed(pairs, tol),
    )
    monkeypatch.setattr(
        "sknw._engines.dense.collect._collect", lambda pairs, *rest: left.append(len(pairs)) or collect(pairs, *rest)
    )
    found, found_mass = pool(pooler, asked, tol=SINGLE_TOL)
    assert sum(tried) > 0.9 * len(expected) if is_tried else not tried
    assert sum(left) < 0.1 * len(expected) or not is_tried
    assert_close(found, expected, np.sin(keys[:, :1]), SINGLE_TOL)
    np.testing.assert_allclose(found_mass, mass, rtol=1e-6, atol=MOST_ERROR)


@pytest.mark.parametrize(("share", "is_tried"), [(0.0, True), (0.1, True), (0.5, False), (1.0, False)])
def test_single_precision_is_tried_where_most_queries_are_near(share, is_tried, monkeypatch):
    rng, tried = np.random.default_rng(0), []
    keys, queries = rng.normal(size=(1000, 3)), rng.normal(size=(200, 3))
    queries[: int(share * 200)] *= 100
    pooler = make_pooler("dense", keys, rng.normal(size=(1000, 1)), None, "gaussian", 0.3, SINGLE_TOL)
    expected, mass = pool(pooler, queries)
    monkeypatch.setattr(
        "sknw._engines.dense.collect.collect_single", lambda pairs: tried.append(len(pairs)) or collect_single(pairs)
    )
    found, found_mass = pool(pooler, queries, tol=SINGLE_TOL)
    assert sum(tried) == (200 if is_tried else 0)
    assert_close(found, expected, expected, SINGLE_TOL)
    np.testing.assert_allclose(found_mass, mass, rtol=1e-6, atol=MOST_ERROR)


@pytest.mark.parametrize(("n", "d"), [(64, 3), (65, 3), (1000, 3), (6400, 60)])
def test_threads_do_not_show(n, d):
    rng = np.random.default_rng(n)
    keys, weights = rng.normal(size=(n, d)), rng.integers(0, 3, size=n) + 0.5
    pooler = make_pooler("dense", keys, rng.normal(size=(n, 2)), weights, "gaussian", 0.5 + d / 150, SINGLE_TOL)
    for asked in (rng.normal(size=(1100, d)), None):
        assert_same_results(*(pool(pooler, asked, n_jobs=n_jobs, tol=SINGLE_TOL) for n_jobs in (1, 3)))


def test_masses_and_attention_are_in_double_precision():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 3))
    models = [NadarayaWatsonClassifier(algorithm="dense", tol=tol).fit(X, X[:, 0] > 0) for tol in (0, SINGLE_TOL)]
    for ask in ("score_samples", "effective_neighbors"):
        exact, found = (getattr(model, ask)(X) for model in models)
        np.testing.assert_allclose(found, exact, rtol=1e-9)
    exact, found = (model.attention_weights(X[:50]) for model in models)
    np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-14)
    exact, found = (model.predict_proba(X) for model in models)
    assert 0 < np.abs(found - exact).max() <= SINGLE_TOL


@pytest.mark.parametrize("distance", [5.0, 11.0, 12.0, 13.0, 30.0])
def test_queries_far_from_all_keys_know_which_are_nearer(distance):
    """Near the centre, which is far from three clouds, the weights of all keys may be next to nothing."""
    rng, clouds = np.random.default_rng(0), np.repeat([0, 1, 2], 100)
    keys = rng.random((300, 2)) + distance * np.array([[-1, 0], [1, 0], [0, 3]])[clouds]
    queries, values = rng.normal(size=(20, 2)) * [0.2, 0], np.eye(3)[clouds]
    pooler = make_pooler("dense", keys, values, tol=SINGLE_TOL)
    assert_close(pool(pooler, queries, tol=SINGLE_TOL)[0], pool(pooler, queries)[0], values, SINGLE_TOL)
