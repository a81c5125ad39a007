import numpy as np
import pytest

from sknw import Kernel
from sknw._canonical import canonical_ratio
from sknw._kernels import KERNELS
from sknw._learning import rules
from sknw._learning.rules import check_bandwidth, quantiles, robust_scales

GAUSSIAN = KERNELS["gaussian"]
every_rule = pytest.mark.parametrize("rule", ["silverman", "scott"])


def rule_of_thumb(rule, keys, weights, kernel):
    return rules.rule_of_thumb(rule, robust_scales(keys, weights), weights, kernel)


def student(log_scale, power):
    return Kernel(lambda t: -power * np.log1p(t / np.exp(2 * log_scale)))


@pytest.fixture
def keys():
    return np.random.default_rng(0).normal(size=(300, 3)) * [1, 10, 0.1]


@pytest.mark.parametrize(
    ("name", "delta"),
    [("boxcar", 1.3510), ("epanechnikov", 1.7188), ("biweight", 2.0362), ("triweight", 2.3122), ("gaussian", 0.7764)],
)
def test_canonical_bandwidths_of_marron_and_nolan(name, delta):
    assert canonical_ratio(KERNELS[name], 1) * 0.776388 == pytest.approx(delta, abs=5e-5)


@pytest.mark.parametrize(
    ("d", "expected"),
    [
        (1, {"exponential": 0.74, "logistic": 0.56, "boxcar": 1.74, "epanechnikov": 2.21, "tricube": 2.61}),
        (5, {"exponential": 0.45, "logistic": 0.43, "boxcar": 2.59, "epanechnikov": 2.87, "tricube": 3.30}),
        (20, {"exponential": 0.25, "logistic": 0.25, "boxcar": 4.33, "epanechnikov": 4.47, "tricube": 4.81}),
    ],
)
def test_canonical_ratio(d, expected):
    for name, ratio in expected.items():
        assert canonical_ratio(KERNELS[name], d) == pytest.approx(ratio, abs=0.0051)


@pytest.mark.parametrize("d", [1, 2, 5, 20, 500])
def test_canonical_ratio_of_epanechnikov_in_closed_form(d):
    # integrals of u^(d-1) (1 - u²)^k and u^(d-1) exp(-k u² / 2)
    from scipy.special import gammaln

    mass = np.log(1 / d - 1 / (d + 2))
    roughness = np.log(1 / d - 2 / (d + 2) + 1 / (d + 4)) - 2 * mass
    second = np.log((1 / (d + 2) - 1 / (d + 4)) / d) - mass
    gaussian_mass = (d / 2 - 1) * np.log(2) + gammaln(d / 2)
    gaussian_roughness = gammaln(d / 2) - np.log(2) - 2 * gaussian_mass
    expected = np.exp((roughness - 2 * second - gaussian_roughness) / (d + 4))
    assert canonical_ratio(KERNELS["epanechnikov"], d) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["constant", "cauchy"])
def test_kernels_without_a_second_moment_are_not_rescaled(name):
    assert canonical_ratio(KERNELS[name], 1) == 1


def test_second_moment_of_heavy_tails():
    assert canonical_ratio(student(0.0, 1.4), 1) == 1
    assert canonical_ratio(student(0.0, 1.6), 1) != 1
    # the bandwidth scales with the kernel
    assert canonical_ratio(student(1.0, 4), 2) == pytest.approx(canonical_ratio(student(0.0, 4), 2) / np.e)


def test_rules_on_plain_data(keys):
    iqr = np.quantile(keys, 0.75, axis=0, method="averaged_inverted_cdf") - np.quantile(
        keys, 0.25, axis=0, method="averaged_inverted_cdf"
    )
    scale = np.minimum(keys.std(axis=0), iqr / 1.349)
    silverman = rule_of_thumb("silverman", keys, np.ones(300), GAUSSIAN)
    np.testing.assert_allclose(silverman, scale * (4 / (5 * 300)) ** (1 / 7), rtol=1e-12)
    scott = rule_of_thumb("scott", keys, np.ones(300), GAUSSIAN)
    np.testing.assert_allclose(scott, scale * 300 ** (-1 / 7), rtol=1e-12)
    compact = rule_of_thumb("scott", keys, np.ones(300), KERNELS["boxcar"])
    np.testing.assert_allclose(compact / scott, canonical_ratio(KERNELS["boxcar"], 3))


@every_rule
@pytest.mark.parametrize("factor", [1e-300, 1e-20, 1e20, 1e300])
def test_rules_follow_the_scale_and_ignore_the_origin(keys, rule, factor):
    plain = rule_of_thumb(rule, keys, np.ones(300), GAUSSIAN)
    np.testing.assert_allclose(rule_of_thumb(rule, keys * factor, np.ones(300), GAUSSIAN), plain * factor, rtol=1e-12)
    np.testing.assert_allclose(rule_of_thumb(rule, keys + 2.0**20, np.ones(300), GAUSSIAN), plain, rtol=1e-8)


@every_rule
def test_counts_are_repetitions(keys, rule):
    counts = np.random.default_rng(1).integers(0, 5, size=300)
    weighted = rule_of_thumb(rule, keys, counts.astype(float), GAUSSIAN)
    repeated = rule_of_thumb(rule, keys.repeat(counts, axis=0), np.ones(counts.sum()), GAUSSIAN)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


@every_rule
def test_only_ratios_of_importances_matter(keys, rule):
    weights = np.random.default_rng(1).choice([0.1, 0.3, 0.7], size=300)
    plain = rule_of_thumb(rule, keys, weights, GAUSSIAN)
    for factor in (1e-9, 1 / 3, 12345.678):
        np.testing.assert_allclose(rule_of_thumb(rule, keys, factor * weights, GAUSSIAN), plain, rtol=1e-12)
    equal = rule_of_thumb(rule, keys, np.full(300, 0.1), GAUSSIAN)
    np.testing.assert_allclose(equal, rule_of_thumb(rule, keys, np.ones(300), GAUSSIAN), rtol=1e-12)


@every_rule
def test_a_constant_feature_is_ignored(keys, rule):
    with_constant = np.column_stack([keys, np.full(300, 0.1)])
    bandwidth = rule_of_thumb(rule, with_constant, np.ones(300), GAUSSIAN)
    assert bandwidth[3] == np.inf
    np.testing.assert_array_equal(bandwidth[:3], rule_of_thumb(rule, keys, np.ones(300), GAUSSIAN))
    np.testing.assert_array_equal(rule_of_thumb(rule, np.ones((5, 2)), np.ones(5), GAUSSIAN), np.inf)


@every_rule
def test_ties_that_hide_the_quartiles_leave_the_standard_deviation(rule):
    keys = np.r_[np.zeros(90), np.arange(10)][:, None]
    factor = (4 / 3) ** 0.2 if rule == "silverman" else 1
    expected = keys.std() * factor * 100**-0.2
    assert rule_of_thumb(rule, keys, np.ones(100), GAUSSIAN)[0] == pytest.approx(expected, rel=1e-12)


@every_rule
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("wild", [1e4, -9999.0, 1e10, 1e20, 9.97e36, -1e300])
@pytest.mark.parametrize("draw", ["normal", "uniform", "standard_t2"])
def test_a_fill_value_does_not_change_the_rules(rule, kernel, wild, draw):
    rng = np.random.default_rng(0)
    column = rng.standard_t(2, size=200) if draw == "standard_t2" else getattr(rng, draw)(size=200)
    keys = np.column_stack([column, rng.normal(size=200)])
    plain = rule_of_thumb(rule, keys[1:], np.ones(199), KERNELS[kernel])
    keys[0, 0] = wild
    np.testing.assert_allclose(rule_of_thumb(rule, keys, np.ones(200), KERNELS[kernel]), plain, rtol=0.04)


@every_rule
def test_quartiles_that_differ_by_rounding_leave_the_standard_deviation(rule):
    keys = np.r_[np.tile([0.3, 0.1 + 0.2], 45), np.arange(10)][:, None]
    factor = (4 / 3) ** 0.2 if rule == "silverman" else 1
    expected = keys.std() * factor * 100**-0.2
    assert rule_of_thumb(rule, keys, np.ones(100), GAUSSIAN)[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_quantiles_repeat(seed):
    rng = np.random.default_rng(seed)
    values, counts = rng.normal(size=12), rng.integers(1, 5, size=12)
    expected = np.quantile(values.repeat(counts), [0.25, 0.5, 0.75], method="averaged_inverted_cdf")
    np.testing.assert_array_equal(quantiles(values, counts.astype(float), (0.25, 0.5, 0.75)), expected)
    np.testing.assert_array_equal(quantiles(values.repeat(counts), None, (0.25, 0.5, 0.75)), expected)


def test_given_bandwidths():
    np.testing.assert_array_equal(check_bandwidth(2, 3), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(check_bandwidth([1, np.inf, 3], 3), [1, np.inf, 3])


@pytest.mark.parametrize(
    ("bandwidth", "message"),
    [
        ([1, 2], r"bandwidth has shape \(2,\), but X has 3 features.*got \[1, 2\]"),
        ([[1, 2, 3]], r"bandwidth has shape \(1, 3\)"),
        ([1, 0, 3], r"bandwidth must be positive, got \[1, 0, 3\]; use inf to ignore"),
        ([1, -2, 3], "bandwidth must be positive"),
        ([1, np.nan, 3], "bandwidth must be positive"),
        ([1, "a", 3], r"bandwidth must hold positive numbers, got \[1, 'a', 3\]"),
    ],
)
def test_bad_bandwidths(bandwidth, message):
    with pytest.raises(ValueError, match=message):
        check_bandwidth(bandwidth, 3)
