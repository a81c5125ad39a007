from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import real_data
import trust
from learning_problems import Draw
from versions import load_version

import sknw
from sknw import NadarayaWatsonRegressor, _base

ROOT = Path(__file__).parent.parent


@pytest.fixture
def one_draw(monkeypatch):
    monkeypatch.setattr(trust, "SEEDS", range(2))


@pytest.mark.parametrize("name", real_data.BUNDLED)
def test_bundled_data(name):
    X, y = real_data.load(name)
    assert len(X) == len(y) <= real_data.MOST_ROWS
    assert np.isfinite(X).all()
    assert name in real_data.names(is_classification=name != "diabetes")


def test_no_name_is_that_of_two_data_sets():
    names = [*real_data.BUNDLED, *real_data.REGRESSION, *real_data.CLASSIFICATION]
    assert len(set(names)) == len(names) > 60


def test_tables_become_numbers():
    table = pd.DataFrame({"a": [1, None, 3, 5], "b": ["x", "y", "x", "z"], "c": [1.5, 2, 2.5, 3]})
    expected = [[1, 0, 1.5, 0, 0], [3, 1, 2, 1, 0], [3, 0, 2.5, 0, 0], [5, 0, 3, 0, 1]]
    np.testing.assert_array_equal(real_data._to_numbers(table), expected)
    np.testing.assert_array_equal(real_data._to_numbers(table[["c"]]), table[["c"]])


def test_another_version_stands_beside_this_one():
    other = load_version(ROOT)
    assert other is not sknw
    assert other.NadarayaWatsonRegressor is not NadarayaWatsonRegressor
    assert other.NadarayaWatsonRegressor(1.0).fit([[0.0], [1.0]], [0, 1]).predict([[0.5]]) == pytest.approx(0.5)
    import sknw as again

    assert again is sknw


def test_copies_are_made_as_users_make_them():
    y, rng = np.r_[np.zeros(10), np.ones(90)], np.random.default_rng(0)
    assert len(trust.repeat_rows("bootstrap", y, rng)) == 100
    assert np.bincount(trust.repeat_rows("every second row doubled", y, rng)).tolist() == [2, 1] * 50
    assert np.bincount(trust.repeat_rows("rare class 30 times", y, rng)).tolist() == [30] * 10 + [1] * 90


def test_the_rule_about_copies_can_be_left_out():
    X = np.random.default_rng(0).normal(size=(50, 1))
    data = np.r_[X, X], np.r_[X, X][:, 0]
    with trust.without_copies(), pytest.warns(match="lower end"):
        plain = NadarayaWatsonRegressor("loo").fit(*data).bandwidth_
    assert NadarayaWatsonRegressor("loo").fit(*data).bandwidth_ > 5 * plain
    assert _base.make_sample is not None


def test_problems():
    for strength, least, most in ((0, -0.1, 0.1), (1, 0.7, 0.9)):
        split = trust.make_signal(3, 0, strength, 100, 5000)
        assert split.X.shape == (100, 3)
        assert least < np.corrcoef(split.X_test[:, 0], split.y_test)[0, 1] ** 2 < most
    text = trust.make_text(0, n=60, m=30)
    assert text.X.shape[1] == text.X_test.shape[1]
    assert (text.X >= 0).all()
    assert np.mean(text.X > 0) < 0.5
    for X, y in trust.lattices(0).values():
        assert len(np.unique(np.column_stack([X, y]), axis=0)) < len(y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_bars_are_printed(one_draw, capsys, monkeypatch):
    monkeypatch.setattr(trust, "EXPLAINED", {5: 0.78})
    trust.print_weights()
    trust.print_lattices()
    trust.print_signal()
    trust.print_small()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 + 12 + 2 + 4
    assert not any("missed" in line for line in lines if "weights 1..5" in line or "signal, d=5" in line)


def test_real_data_are_compared(capsys, monkeypatch):
    monkeypatch.setattr(trust, "names", lambda is_classification: ["iris"] if is_classification else ["diabetes"])
    for is_classification in (False, True):
        results = trust.compare_real(is_classification, load_version(ROOT))
        (row,) = results.values()
        assert row["loo_ard"] == pytest.approx(row["before"])
        trust.print_real(results, "real")
    lines = capsys.readouterr().out.splitlines()
    assert sum(" | " in line for line in lines) == 2 * 4
    assert sum("worst, iris" in line for line in lines) == 1


def test_versions_are_timed(capsys, monkeypatch):
    monkeypatch.setattr(trust, "TIMED", [Draw("sine", 2, 1, 50, 0.3, "normal", 0)])
    monkeypatch.setattr(trust, "TIMED_LARGE", [Draw("sine", 2, 1, 60, 0.3, "normal", 0)])
    monkeypatch.setattr(trust, "MILLION", 500)
    trust.compare_versions(load_version(ROOT), rounds=1)
    assert sum(" | " in line for line in capsys.readouterr().out.splitlines()) == 5
