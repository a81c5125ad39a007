import numpy as np
import oracle
import pytest
import timing
from bars import ARGSORTS, FAST_KERNELS, SPEED_UPS, print_one_feature, print_speed_up
from contenders import PEERS, own_contenders
from definition import WEIGHTS, define, disagreement
from problems import EARLIER, MIXED, PROBLEMS, Row, make_problem
from tables import print_choices, time_contenders
from timing import cut_queries, ratio

from sknw._kernels import KERNELS


def test_problems_have_names_of_their_own():
    assert len(PROBLEMS) == len(EARLIER) + len(MIXED) <= 40
    assert {row.kernel for row in PROBLEMS.values()} <= set(WEIGHTS) <= set(KERNELS)


@pytest.mark.parametrize("name", PROBLEMS)
def test_problem(name):
    row = PROBLEMS[name]._replace(n=60, m=30)
    problem = make_problem(*row)
    assert problem.keys.shape == (60, row.n_features)
    assert problem.queries.shape == (30, row.n_features)
    assert problem.kernel == row.kernel
    assert np.all(np.isfinite(problem.bandwidth) & (problem.bandwidth > 0))
    assert len(problem.first(7).queries) == len(problem.farthest(7).queries) == 7


@pytest.mark.parametrize("kernel", WEIGHTS)
def test_definition(kernel):
    problem = make_problem(2, 80, 40, "normal", 0.7, kernel)
    attention, empty = oracle.attention(problem.queries, problem.keys, problem.bandwidth, kernel)
    means = define(problem)
    np.testing.assert_array_equal(np.isnan(means), empty)
    np.testing.assert_allclose(means[~empty], (attention @ problem.targets)[~empty], rtol=0, atol=1e-12)


def test_disagreement():
    problem = make_problem(1, 50, 4)
    means = np.array([0.0, 1.0, np.nan, 2.0])
    error, unanswered = disagreement(problem, np.array([0.0, 1.5, 7.0, np.nan]), means)
    assert error == pytest.approx(0.5 / np.ptp(problem.targets))
    assert unanswered == pytest.approx(1 / 3)
    assert disagreement(problem, means, np.full(4, np.nan)) == (0, 0)


@pytest.mark.parametrize("kernel", WEIGHTS)
@pytest.mark.parametrize("n_features", [1, 2, 3])
def test_own_contenders_agree_with_the_definition(kernel, n_features):
    problem = make_problem(n_features, 300, 60, "uniform", 1.0, kernel)
    rows = own_contenders(problem)
    assert {"dense", "auto"} <= set(rows)
    for contender in rows.values():
        error, unanswered = disagreement(problem, contender.predict(problem), define(problem))
        assert error <= contender.accuracy
        assert unanswered == 0


@pytest.mark.parametrize(
    ("name", "kernel", "n_features"),
    [
        (name, kernel, d)
        for name, peer in PEERS.items()
        for kernel in peer.kernels
        for d in (1, 2)
        if d <= peer.most_features
    ],
)
def test_peer_agrees_with_the_definition(name, kernel, n_features):
    problem = make_problem(n_features, 300, 60, "uniform", 1.0, kernel)
    if not PEERS[name].can_do(problem):
        pytest.skip(f"{PEERS[name].package} is not installed")
    error, unanswered = disagreement(problem, PEERS[name].predict(problem), define(problem))
    assert error <= PEERS[name].accuracy
    assert unanswered == 0


def test_a_peer_beyond_its_means_is_left_out():
    def fail(problem):
        raise ValueError("needs 1e+99 nodes\nand more")

    problem = make_problem(1, 60, 30)
    rows = own_contenders(problem) | {"fft_kde": PEERS["fft_kde"]._replace(predict=fail)}
    results, reasons = time_contenders(problem, rows, rounds=1)
    assert reasons == {"fft_kde": "needs 1e+99 nodes"}
    assert set(results) == set(rows) - {"fft_kde"}
    print_choices({"tiny": results})


def test_slow_predictions_are_cut(monkeypatch):
    problem = make_problem(1, 60, 1000)
    assert cut_queries(lambda part: None, problem) == cut_queries(lambda part: None, problem, "linear") == 1000
    monkeypatch.setitem(timing.BUDGETS, "pairs", (-1e9, 0))
    monkeypatch.setitem(timing.BUDGETS, "linear", (-1e9, 1 / 64))
    assert cut_queries(lambda part: None, problem) == 8
    assert cut_queries(lambda part: None, problem, "linear") == 16


def test_ratio_pairs_common_rounds():
    assert ratio(np.array([2.0, 4.0, 8.0]), np.array([1.0, 2.0])) == 2.0


def test_bars_are_about_kernels_and_contenders_that_exist():
    assert set(ARGSORTS) < set(FAST_KERNELS) < set(KERNELS)
    for speed_up in SPEED_UPS:
        assert speed_up.kernel in WEIGHTS
        assert speed_up.against in {"dense", *PEERS}


def test_bars_are_printed(capsys):
    print_one_feature(rounds=1, n=5000)
    print_speed_up(SPEED_UPS[0]._replace(engine="dense", row=Row(3, 500, 500), most_seconds=1e9), rounds=1)
    print_speed_up(SPEED_UPS[0]._replace(engine="no such engine"), rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 * len(ARGSORTS) + len(FAST_KERNELS) + 1 + 3
    assert not any("missed" in line for line in lines if "error" in line.split("|")[0])
    assert "not available" in lines[-1]


def test_lines_are_of_contenders_that_exist_and_look_different(plt):
    from plot import LINES

    assert set(LINES) <= {"dense", "auto", *PEERS}
    for looks in zip(*LINES.values(), strict=True):
        assert len(set(looks)) == len(LINES)
