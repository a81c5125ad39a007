import json

import numpy as np
import pandas as pd
import pytest
import quality
import run
from quality_peers import CONTENDERS, MOST_PROCESS_ROWS, can_learn_data, gaussian_process
from real_data import load
from sklearn.base import clone
from sklearn.metrics import accuracy_score, log_loss

SAMPLES = {"regression": ("diabetes", [2, 3, 8]), "classification": ("iris", [1, 2, 3])}


def sample(kind):
    """Standardised rows of three features, two thirds to learn from."""
    name, features = SAMPLES[kind]
    X, y = load(name)
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    rows = np.random.default_rng(0).permutation(len(y))[:120]
    learned, test = rows[:80], rows[80:]
    return X[np.ix_(learned, features)], y[learned], X[np.ix_(test, features)], y[test]


# Contenders.


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in CONTENDERS for name in CONTENDERS[kind]])
def test_contender_is_better_than_a_constant(kind, name):
    if not can_learn_data(name, 3):
        pytest.skip("not installed")
    X, y, X_test, y_test = sample(kind)
    found = quality.measure_fold(kind, CONTENDERS[kind][name](3), X, y, X_test, y_test)
    if kind == "regression":
        assert found["loss"] < 0.9 * np.mean(np.square(y_test - y.mean()))
    else:
        assert found["loss"] < 0.3
        assert found["accuracy"] > 0.85
        assert 0 < found["log loss"] < 2
    assert found["seconds"] > 0


def test_slow_contenders_are_left_out():
    assert not can_learn_data("kernel_reg_lc", 4)
    assert can_learn_data("forest", 100)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_kernel_of_a_process_is_the_likeliest_for_some_rows(rng):
    X = rng.normal(size=(MOST_PROCESS_ROWS + 100, 1))
    y = np.sin(30 * X[:, 0]) + 0.1 * rng.normal(size=len(X))
    rows = np.random.default_rng(0).permutation(len(y))[:MOST_PROCESS_ROWS]
    model = gaussian_process(1)
    short, long = (clone(model.process).set_params(kernel=kernel).fit(X[rows], y[rows]) for kernel in model.kernels)
    model.fit(X, y)
    assert short.log_marginal_likelihood_value_ > long.log_marginal_likelihood_value_
    np.testing.assert_allclose(model.model_.kernel_.theta, short.kernel_.theta)
    assert len(model.model_.X_train_) == len(X)


# Losses.


def test_losses_of_probabilities(rng):
    probabilities, y = rng.dirichlet(np.ones(3), size=50), rng.integers(0, 3, size=50)
    found = quality.measure_probabilities(probabilities, np.arange(3), y)
    one_hot = np.eye(3)[y]
    assert found["loss"] == pytest.approx(np.square(probabilities - one_hot).sum(axis=1).mean())
    assert found["log loss"] == pytest.approx(log_loss(y, probabilities))
    assert found["accuracy"] == accuracy_score(y, probabilities.argmax(axis=1))


def test_a_class_that_was_not_seen_has_no_probability():
    found = quality.measure_probabilities(np.array([[0.5, 0.5]]), np.array([0, 2]), np.array([1]))
    assert found["loss"] == pytest.approx(1.5)
    assert found["log loss"] == pytest.approx(-np.log(1e-15))
    assert found["accuracy"] == 0


def test_means_over_folds():
    folds = [{"loss": 1.0, "expected": 2.0, "seconds": 1.0}, {"loss": 7.0, "expected": 3.0, "seconds": 2.0}]
    regression, classification = (quality.summarise(kind, folds) for kind in ("regression", "classification"))
    assert regression == {"loss": 2.0, "seen / expected": 1.6, "seconds": 1.5}
    assert classification == regression | {"loss": 4.0}


# Ranks.


def made_up_rows():
    """On data set j, the loss of a contender is its j-th."""
    losses = {"kernel_reg_lc": [0.1], "loo": [1, 2, 4], "loo_ard": [2, 1, 4], "forest": [3, 0.5, 2]}
    for name, values in losses.items():
        for j, loss in enumerate(values):
            row = {"kind": "regression", "data": f"data {j}", "n": 10, "features": 3, "contender": name, "loss": loss}
            row |= {"log loss": None, "accuracy": None, "seconds": 1.0 + j, "commit": f"of {name}"}
            yield row | {"seen / expected": 1.0 + j if name == "loo" else None}


def test_ranks():
    ranks = {row.pop("contender"): row for row in quality.rank(pd.DataFrame(made_up_rows()))}
    assert list(ranks) == ["forest", "loo_ard", "loo", "kernel_reg_lc"]
    forest = {"kind": "regression", "data sets": 3, "mean rank": pytest.approx(5 / 3), "wins": 2, "ratio, median": 0.5}
    forest |= {"ratio, 90 %": pytest.approx(2.5), "log loss": None, "accuracy": None, "seen / expected": None}
    assert ranks["forest"] == forest | {"seconds": 2.0, "commit": "of forest"}
    assert ranks["loo"]["mean rank"] == ranks["loo_ard"]["mean rank"] == pytest.approx(6.5 / 3)
    assert ranks["loo"]["seen / expected"] == 2.0
    assert (ranks["loo"]["wins"], ranks["loo_ard"]["wins"], ranks["kernel_reg_lc"]["wins"]) == (1, 0, None)
    assert ranks["kernel_reg_lc"]["ratio, median"] == 0.1
    assert list(quality.ranked_losses(pd.DataFrame(made_up_rows()), "regression")) == ["forest", "loo_ard", "loo"]


def test_ranks_are_of_data_sets_that_all_have_learned():
    rows = [row for row in made_up_rows() if (row["contender"], row["data"]) != ("forest", "data 1")]
    ranks = {row["contender"]: row for row in quality.rank(pd.DataFrame(rows))}
    assert [ranks[name]["data sets"] for name in ("forest", "loo", "kernel_reg_lc")] == [2, 2, 1]
    assert ranks["forest"]["mean rank"] == 2.0


def test_expected_losses():
    row, *others = quality.describe_expectations(pd.DataFrame(made_up_rows())).to_dict("records")
    assert row == {"kind": "regression", "contender": "loo", "10 %": 1.2, "median": 2.0, "90 %": 2.8, "largest": 3.0}
    assert not others


# The command.


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A file of results, and in it those of three contenders on two data sets at another commit."""
    monkeypatch.setattr(quality, "names", {"regression": ["diabetes"], "classification": ["iris"]}.get)
    monkeypatch.setattr(run, "PAGE", tmp_path / "page.rst")
    (tmp_path / "pictures").mkdir()
    results = json.loads(run.RESULTS.read_text(encoding="utf-8"))
    rows = run.print_rows(quality.compare_quality("", ["loo", "loo_ard", "silverman"]))
    results["quality"] = run.describe("quality", [row | {"commit": "before"} for row in rows], "")
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results.json")
    run.RESULTS.write_text(json.dumps(results), encoding="utf-8")
    return results["quality"]


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["run.py", *arguments])
    run.main()


def test_some_contenders_are_measured_and_others_kept(kept, monkeypatch, plt):
    call(monkeypatch, "quality", "--contenders", "silverman,ridge")
    results, commit = json.loads(run.RESULTS.read_text(encoding="utf-8")), run.find_commit()
    before, after = (run.to_frame(table).set_index(["data", "contender"]) for table in (kept, results["quality"]))
    own = before.index.get_level_values("contender") != "silverman"
    pd.testing.assert_frame_equal(after.loc[before.index[own]], before[own])
    np.testing.assert_array_equal(after["loss"][before.index], before["loss"])
    assert dict(after["commit"].groupby("contender").first()) == {
        "loo": "before",
        "loo_ard": "before",
        "silverman": commit,
        "ridge": commit,
    }
    assert results["quality"]["commit"] == f"before, {commit}"
    ranks = run.to_frame(results["ranks"])
    assert list(ranks["commit"]) == [after["commit"].groupby("contender").first()[name] for name in ranks["contender"]]
    assert run.PAGE.read_text(encoding="utf-8") == run.make_page(results)


def test_a_part_is_not_written(kept, monkeypatch, capsys):
    before = run.RESULTS.read_text(encoding="utf-8")
    call(monkeypatch, "quality", "--only", "iris", "--contenders", "loo")
    assert "data iris, n 120, features 4, contender loo, loss" in capsys.readouterr().out
    assert run.RESULTS.read_text(encoding="utf-8") == before


def test_results_of_other_packages_are_not_kept():
    table = run.describe("quality", [{"contender": "loo", "loss": 1.0}, {"contender": "forest", "loss": 2.0}], "")
    assert run.other_rows(table, ["loo"]) == [{"contender": "forest", "loss": 2.0}]
    with pytest.raises(ValueError, match=r"with numpy 1\.0: measure all contenders"):
        run.other_rows(table | {"packages": "numpy 1.0"}, ["loo"])


def test_unknown_contenders_are_refused(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(monkeypatch, "quality", "--contenders", "loo,loss")
    assert "no contenders: loss; choose from local_linear, loo_ard" in capsys.readouterr().err
