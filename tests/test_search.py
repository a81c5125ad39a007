"""The search for the least loss, on losses that are known in closed form."""

import numpy as np
import pytest

from sknw._learning.loss import Comparison
from sknw._learning.minimize import MOST_EVALUATIONS, OCTAVES, TRUST_RADIUS, _to_octaves, _to_sharpness
from sknw._learning.search import ENOUGH_ROWS, N_DRAWS, Search


class Loss:
    """A function of the octaves (n_features,) above a start of one, with its gradient by log bandwidths."""

    n_rows = 10 * ENOUGH_ROWS

    def __init__(self, function, slope=None):
        self.function, self.slope, self.asked, self.descended = function, slope, [], []

    def __call__(self, bandwidth):
        self.asked.append(bandwidth)
        with np.errstate(divide="ignore"):
            return float(self.function(np.log2(bandwidth)))

    def sweep(self, bandwidth, octaves):
        return (self(2.0**octave * bandwidth) for octave in octaves)

    def with_gradient(self, bandwidth):
        self.descended.append(bandwidth)
        return self(bandwidth), self.slope(np.log2(bandwidth)) / np.log(2)


class Halves:
    """Pairs of losses to learn from and to validate by."""

    def __init__(self, *folds, n_contributing=100, error=1e-4):
        self.folds, self.n_contributing, self.error = list(folds), n_contributing, error

    def compare(self, learned, mean, common):
        losses = [
            [loss(h) for h in (bandwidth, common)] for (_, loss), bandwidth in zip(self.folds, learned, strict=True)
        ]
        least, other = np.mean(losses, axis=0)
        return Comparison(least, other - least, self.error, 400, self.n_contributing)


class Watch:
    """A task that stops its subtasks after a number of ends."""

    def __init__(self, name="fit", most=None, log=None):
        self.name, self.most, self.log = name, most, [] if log is None else log

    def subtask(self, name, n_subtasks=None):
        return Watch(name, self.most, self.log)

    def end(self, bandwidth):
        self.log.append((self.name, bandwidth))
        return self.most is not None and len(self.log) >= self.most


def bowl(*centres, scales=(1.0,)):
    """Squared octaves from the centres, saturating so that inf has a loss."""
    centres, scales = np.array(centres), np.array(scales)

    def depth(octaves):
        return np.square(np.minimum(octaves, 40.0) - centres) * scales

    return Loss(
        lambda octaves: 1 - np.exp(-depth(octaves).sum() / 50) + 0.1,
        lambda octaves: np.exp(-depth(octaves).sum() / 50) * 2 * (octaves - centres) * scales / 50,
    )


def search(loss, start=(1.0,), watch=None, final=None, halves=None):
    def make_halves(n_draws):
        return halves or Halves(*[(loss, loss)] * (2 * n_draws))

    return Search(np.array(start), loss, final or loss, make_halves, watch or Watch())


def few(loss):
    """One half of so few rows that a descent starts again, and its own validation rows."""
    loss.n_rows = 10
    return Halves((loss, loss))


@pytest.mark.parametrize("centre", [-6.3, -0.2, 0.0, 3.33, 7.8])
def test_one_factor_is_found_to_its_precision(centre):
    learned = search(bowl(centre, centre), (1.0, 1.0)).factor()
    np.testing.assert_allclose(np.log2(learned.bandwidth), centre, atol=0.02)
    assert not learned.warning


def test_the_global_basin_is_found():
    def two_basins(octaves):
        x = min(octaves[0], 30)
        return 2 - np.exp(-np.square(x - 4) / 4) - 1.1 * np.exp(-np.square(x + 6.2) / 0.5)

    learned = search(Loss(two_basins)).factor()
    np.testing.assert_allclose(np.log2(learned.bandwidth), -6.2, atol=0.02)


@pytest.mark.parametrize("loss", [0.0, 0.7])
@pytest.mark.parametrize("per_feature", [False, True])
def test_a_flat_loss_keeps_the_start(loss, per_feature):
    flat = search(Loss(lambda octaves: loss, np.zeros_like), (2.0, 3.0))
    learned = flat.each(True) if per_feature else flat.factor()
    np.testing.assert_array_equal(learned.bandwidth, [2.0, 3.0])
    assert learned.n_evaluations <= 2 * OCTAVES + 4
    assert not learned.warning


def test_of_equal_losses_the_smoothest_wins():
    plateau = Loss(lambda octaves: float(octaves[0] > -3.9))
    assert -4 <= np.log2(search(plateau).factor().bandwidth[0]) < -3.9 + 0.1


@pytest.mark.parametrize("per_feature", [False, True])
def test_the_upper_edge_is_average_pooling(per_feature):
    noise = Loss(lambda octaves: 1 + np.exp2(-octaves).sum(), lambda octaves: -np.log(2) * np.exp2(-octaves))
    noisy = search(noise, (1.0, 5.0))
    learned = noisy.each(True) if per_feature else noisy.factor()
    np.testing.assert_array_equal(learned.bandwidth, np.inf)
    assert not learned.warning


def test_the_lower_edge_is_reported():
    learned = search(Loss(lambda octaves: np.exp2(min(octaves[0], 20)) + 1)).factor()
    assert np.log2(learned.bandwidth[0]) == pytest.approx(-OCTAVES, abs=0.05)
    assert "lower end" in learned.warning


@pytest.mark.parametrize("by_gradient", [True, False])
def test_each_feature_gets_its_own(by_gradient):
    learned = search(bowl(-3.0, 2.0, 0.5, scales=(1, 5, 0.2)), (1.0, 1.0, 1.0)).each(by_gradient)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [-3.0, 2.0, 0.5], atol=0.01 if by_gradient else 0.1)


@pytest.mark.parametrize("by_gradient", [True, False])
def test_a_feature_that_does_not_matter_is_ignored(by_gradient):
    def of_first(octaves):
        return 2 - np.exp(-np.square(octaves[0] + 2) / 20) + 0.1 * np.exp2(-octaves[1])

    def slope(octaves):
        first = np.exp(-np.square(octaves[0] + 2) / 20) * (octaves[0] + 2) / 10
        return np.array([first, -0.1 * np.log(2) * np.exp2(-octaves[1])])

    learned = search(Loss(of_first, slope), (1.0, 1.0)).each(by_gradient)
    np.testing.assert_allclose(np.log2(learned.bandwidth[0]), -2, atol=0.05)
    assert learned.bandwidth[1] == np.inf


def test_ignored_features_stay_ignored():
    loss = Loss(lambda octaves: np.square(min(octaves[0], 30) - 1), lambda octaves: np.array([2 * (octaves[0] - 1), 0]))
    for learned in (search(loss, (1.0, np.inf)).factor(), search(loss, (1.0, np.inf)).each(True)):
        np.testing.assert_allclose(learned.bandwidth, [2.0, np.inf], rtol=0.01)
    learned = search(Loss(lambda octaves: 1.0), (np.inf, np.inf)).each(True)
    np.testing.assert_array_equal(learned.bandwidth, np.inf)


@pytest.mark.parametrize("by_gradient", [True, False])
def test_nothing_leaves_the_bounds(by_gradient):
    away = Loss(lambda octaves: 1e3 + min(octaves[0], 99) - min(octaves[1], 99), lambda octaves: np.array([1.0, -1.0]))
    search(away, (1.0, 1.0)).each(by_gradient)
    octaves = np.log2(away.asked)
    assert np.all((np.abs(octaves) <= OCTAVES + 1e-9) | (octaves == np.inf))


@pytest.mark.parametrize(
    ("height", "error", "n_contributing", "own"),
    [(0.1, 0.9, 6, True), (0.1, 1.1, 6, False), (0.1, 0.9, 5, False), (1, 0.4, 6, True), (1, 0.6, 6, False)],
)
def test_what_may_be_chance_is_no_reason_for_a_factor_each(height, error, n_contributing, own):
    """Two standard errors, or one of a gain that is large, and a number of rows behind it."""
    loss = bowl(1.5, 2.5)
    loss.function = lambda octaves, function=loss.function: function(octaves) - 0.1 + height
    gain = loss(2.0 ** np.array([2.0, 2.0])) - loss(2.0 ** np.array([1.5, 2.5]))
    assert (gain > (height + gain) / 20) == (height < 1)  # of 400 rows
    learned = search(
        loss, (1.0, 1.0), halves=Halves((loss, loss), (loss, loss), n_contributing=n_contributing, error=error * gain)
    ).each(True)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [1.5, 2.5] if own else [2.0, 2.0], atol=0.01)


@pytest.mark.parametrize("by_gradient", [True, False])
def test_a_descent_ends_where_validation_rows_gain_nothing_more(by_gradient):
    """What is learned lowers the loss of the rows to learn from on and on, and that of the others to a point."""
    fitted, validation = bowl(6.0, -6.0), bowl(3.0, -3.0)
    fitted.n_rows = 10
    searching = search(fitted, (1.0, 1.0), halves=Halves((fitted, validation), (fitted, validation)))
    learned = searching.each(by_gradient)
    assert validation(learned.bandwidth) < validation(np.ones(2)) - 0.1
    assert learned.loss == pytest.approx(validation(learned.bandwidth), rel=1e-6)
    assert fitted(learned.bandwidth) > 0.2 > fitted(2.0 ** np.array([6.0, -6.0]))


def test_the_mean_of_what_halves_learned_is_kept():
    one, other, final = bowl(1.5, 3.5), bowl(2.5, 2.5), bowl(2.0, 3.0)
    one.n_rows = 10
    learned = search(one, (1.0, 1.0), final=final, halves=Halves((one, one), (other, other))).each(True)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [2.0, 3.0], atol=0.02)
    assert learned.loss == pytest.approx(0.1, abs=1e-3)


def test_a_half_that_is_stuck_does_not_count():
    one, stuck = bowl(1.0, 4.0), bowl(0.0, 0.0)
    one.n_rows = 10
    learned = search(one, (1.0, 1.0), halves=Halves((one, one), (one, one), (stuck, stuck))).each(True)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [1.0, 4.0], atol=0.02)


def test_between_minima_far_apart_there_is_no_mean():
    loss = bowl(4.0, 4.0)
    loss.function = lambda octaves: 2 - np.exp(-np.square(np.abs(np.minimum(octaves, 99)) - 4).sum())
    one, other = bowl(-4.0, 4.0), bowl(4.0, -4.0)
    loss.n_rows = 10
    learned = search(loss, (1.0, 1.0), halves=Halves((one, loss), (other, loss))).each(True)
    np.testing.assert_allclose(np.abs(np.log2(learned.bandwidth)), 4.0, atol=0.1)


@pytest.mark.parametrize("is_fitted", [False, True])
def test_with_enough_rows_the_search_ends_at_the_minimum_on_all(is_fitted):
    """Unless that is far below what rows that were not learned from have lost."""
    final, half = bowl(1.5, 2.5), bowl(1.0, 3.0)
    if is_fitted:
        half.function = lambda octaves, function=half.function: function(octaves) + 0.1
    learned = search(final, (1.0, 1.0), halves=Halves((half, half), (half, half))).each(True)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [1.0, 3.0] if is_fitted else [1.5, 2.5], atol=0.05)
    assert learned.loss == (pytest.approx(0.2, abs=1e-3) if is_fitted else None)


@pytest.mark.parametrize(("n_rows", "expected"), [(2 * ENOUGH_ROWS, 1), (2 * ENOUGH_ROWS - 1, N_DRAWS), (3, 0)])
def test_rows_are_drawn_into_halves_again_where_they_are_few(n_rows, expected):
    asked, loss = [], bowl(1.5, 2.5)

    def make_halves(n_draws):
        asked.append(n_draws)
        return Halves(*[(loss, loss)] * (2 * n_draws))

    loss.n_rows = n_rows
    Search(np.ones(2), loss, loss, make_halves, Watch()).each(True)
    assert asked == ([expected] if expected else [])


def test_the_first_step_of_a_descent_is_not_to_the_corner():
    steep = Loss(lambda octaves: 1e3 + np.minimum(octaves, 99) @ [30.0, -20.0], lambda octaves: np.array([30.0, -20.0]))
    search(steep, (1.0, 1.0), halves=few(steep)).each(True)
    octaves = np.log2(steep.descended)
    assert {tuple(point) for point in np.round(octaves)} >= {(-OCTAVES, OCTAVES)}
    (second,) = np.flatnonzero((octaves == [-OCTAVES, 1 - OCTAVES]).all(axis=1))  # the first stride
    for descent in np.split(octaves, [second]):
        assert np.abs(np.diff(_to_sharpness(descent), axis=0)).max() <= 2 * TRUST_RADIUS


def test_no_gradient_is_evaluated_twice():
    loss = bowl(-7.0, 7.0)
    search(loss, (1.0, 1.0), halves=few(loss)).each(True)
    points = [bandwidth.tobytes() for bandwidth in loss.descended]
    assert len(points) > 10
    assert len(set(points)) == len(points)


def test_of_two_minima_the_lower_one_is_found():
    def bowls(octaves):
        away = np.square(octaves - np.array([[0.4, -0.4], [4.0, -3.0]])).sum(axis=1)
        return away, np.exp(-away / np.array([0.3, 8.0])) * np.array([0.3, 1.0])

    def loss(octaves):
        return 2 - bowls(np.minimum(octaves, 99))[1].sum()

    def slope(octaves):
        _, depths = bowls(octaves)
        centres, widths = np.array([[0.4, -0.4], [4.0, -3.0]]), np.array([0.3, 8.0])
        return 2 * (depths / widths) @ (octaves - centres)

    bowls_loss = Loss(loss, slope)
    learned = search(bowls_loss, (1.0, 1.0), halves=few(bowls_loss)).each(True)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [4.0, -3.0], atol=0.1)


def test_sharpness_is_even_in_the_logarithm_or_in_the_inverse_square():
    octaves = np.linspace(-OCTAVES, OCTAVES, 65)
    sharpness = _to_sharpness(octaves)
    again, slope = _to_octaves(sharpness)
    np.testing.assert_allclose(again, octaves, atol=1e-10)
    np.testing.assert_allclose(np.gradient(octaves, sharpness)[1:-1], slope[1:-1], rtol=0.05)
    np.testing.assert_allclose(np.diff(sharpness)[:16] / np.diff(octaves)[:16], -1, rtol=1e-3)
    np.testing.assert_allclose(sharpness[-16:] / sharpness[-1], 4.0 ** (OCTAVES - octaves[-16:]), rtol=0.01)


def test_a_feature_that_does_not_matter_is_soon_ignored():
    def function(octaves):
        return 0.1 + np.square(octaves[0] + 1) + 0.01 * 4.0 ** -octaves[1]

    def slope(octaves):
        return np.array([2 * (octaves[0] + 1), -0.01 * np.log(4) * 4.0 ** -octaves[1]])

    def loss(octaves):
        return function(np.where(np.isfinite(octaves), octaves, [20, np.inf]))

    learned = search(Loss(loss, slope), (1.0, 1.0)).each(True)
    np.testing.assert_allclose(learned.bandwidth, [0.5, np.inf], rtol=1e-3)
    assert learned.n_evaluations <= len(learned.path["loss"]) + 24


def test_the_final_loss_has_the_last_word():
    first, final, watch = bowl(2.0, 3.0), bowl(2.6, 1.4), Watch()
    learned = search(first, (1.0, 1.0), watch, final).each(True)
    np.testing.assert_allclose(np.log2(learned.bandwidth), [2.6, 1.4], atol=0.05)
    assert len(final.asked) <= 18
    assert learned.n_evaluations == [name for name, _ in watch.log].count("evaluation")
    for centre in (2.8, -2.3, 5.1):
        first, final = bowl(2.0), bowl(centre)
        learned = search(first, (1.0,), final=final).factor()
        np.testing.assert_allclose(np.log2(learned.bandwidth), centre, atol=0.02)
        assert len(final.asked) <= 20


def test_a_search_that_does_not_end_says_so():
    rng = np.random.default_rng(0)
    restless = Loss(lambda octaves: 1 + np.square(octaves - 1).sum() + 1e-9, lambda octaves: 2 * (octaves - 1))
    count = iter(range(10**6))
    restless.function = lambda octaves: 1e3 - 1e-3 * next(count)
    restless.slope = lambda octaves: rng.normal(size=2) - 0.5
    learned = search(restless, (1.0, 1.0), halves=Halves((restless, restless), error=-1.0)).each(False)
    assert "before it converged" in learned.warning
    assert learned.n_evaluations < 10 * MOST_EVALUATIONS


@pytest.mark.parametrize("per_feature", [False, True])
@pytest.mark.parametrize("most", [1, 5, 20, 45, 60])
def test_a_search_that_is_stopped_keeps_the_best_so_far(per_feature, most):
    loss, watch = bowl(-3.0, 2.0), Watch(most=most)
    stopped = search(loss, (1.0, 1.0), watch)
    learned = stopped.each(True) if per_feature else stopped.factor()
    assert len(loss.asked) <= most
    assert np.all(np.isfinite(learned.bandwidth))
    if most == 1:
        np.testing.assert_array_equal(learned.bandwidth, [1.0, 1.0])
        np.testing.assert_array_equal(learned.path["factor"], [1.0])


def test_who_watches_hears_of_every_evaluation():
    loss, watch = bowl(-3.0), Watch()
    learned = search(loss, (1.0,), watch).factor()
    names = [name for name, _ in watch.log]
    assert names.count("evaluation") == learned.n_evaluations == len(loss.asked)
    assert [name for name in names if name != "evaluation"] == ["sweep", "refinement"]
    assert watch.log[-1][1] is learned.bandwidth
