"""Compare this checkout with an earlier one: results, and processor time in interleaved rounds.

Each version runs in a process of its own, which gets cases and orders through a pipe; all inputs are made once.
"""

import os
import pickle
import subprocess
import sys
import time
import warnings
from itertools import chain
from math import ceil
from pathlib import Path

import numpy as np
from cases import named_cases, random_case, timed_cases

HERE = Path(__file__).resolve().parent.parent
"""This checkout."""

BOUNDS = {"predictions": 1e-12, "left out": 1e-12, "attention": 1e-12, "bandwidths": 1e-9, "losses": 1e-9}
"""By kind of result, the difference above which a case is counted."""

ATTENTION_QUERIES, ATTENTION_KEYS = 30, 300
"""Of so many queries attention is compared; and all of it among up to so many keys."""

SHORTEST, ALLOTMENT = 0.02, 1.0
"""Seconds: a call is repeated to take the first; after the second only the fewest rounds are completed."""


class Worker:
    """What a version does in its own process."""

    def __init__(self):
        self._case = self._model = None

    def check(self, path):
        """Where `sknw` comes from."""
        return sys.modules["sknw"].__file__

    def answer(self, case):
        """The results of a case, arrays by (kind, algorithm); where the package refuses, the error's name."""
        results = {}
        for algorithm in case.algorithms():
            model = _outcome(case.fit, algorithm)
            if isinstance(model, str):
                results["predictions", algorithm] = model
                continue
            if isinstance(case.parameters["bandwidth"], str):
                return {("bandwidths", algorithm): model.bandwidth_, ("losses", algorithm): np.array(model.loo_loss_)}
            predict = model.predict_proba if case.is_classes else model.predict
            calls = {"predictions": (predict, case.queries), "left out": (predict, None)}
            calls["attention"] = model.attention_weights, case.queries[:ATTENTION_QUERIES]
            if len(case.keys) <= ATTENTION_KEYS:
                calls["attention left out"] = model.attention_weights, None
            for kind, (call, queries) in calls.items():
                results[kind, algorithm] = _outcome(call, queries)
        return results

    def load(self, case):
        """Take a case to time."""
        self._case, self._model = case, case.fit()

    def seconds(self, action):
        """Processor time of an action on the case, of one call among as many as take long enough."""
        first = self._time(action, 1)
        repeats = ceil(SHORTEST / max(first, 1e-4))
        return first if repeats == 1 else self._time(action, repeats) / repeats

    def _time(self, action, repeats):
        start = time.process_time()
        for _ in range(repeats):
            ACTIONS[action](self._case, self._model)
        return time.process_time() - start


def _outcome(call, argument):
    try:
        return call(argument)
    except ValueError as error:
        return type(error).__name__


def _one_by_one(case, model):
    for query in case.queries[:100]:
        model.predict(query[None])


ACTIONS = {
    "fit": lambda case, model: case.fit().predict(case.queries[:1]),  # what is put off until the first query counts
    "predict": lambda case, model: model.predict(case.queries),
    "predict(None)": lambda case, model: model.predict(None),
    "one query": _one_by_one,
    "attention": lambda case, model: model.attention_weights(case.queries),
}


class Version:
    """A checkout at work in a process of its own, with one thread."""

    def __init__(self, path):
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | threads | {"PYTHONPATH": str(Path(path).resolve())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        found = self.ask("check", path)
        if Path(path).resolve() not in Path(found).parents:
            raise RuntimeError(f"{path} holds no sknw: {found} was imported")

    def send(self, *order):
        """Begin an order: the name of a method of `Worker`, and its argument."""
        pickle.dump(order, self._process.stdin)
        self._process.stdin.flush()

    def receive(self):
        """The result of an order, when it is there."""
        return pickle.load(self._process.stdout)

    def ask(self, *order):
        """Both."""
        self.send(*order)
        return self.receive()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


def difference(kind, before, after, case):
    """How far a result is from that of the version before, in the unit of its kind; inf where only one has a number."""
    if isinstance(before, str) or isinstance(after, str):
        return 0.0 if isinstance(before, type(after)) and before == after else np.inf
    scale = np.ones(1)
    if kind in ("predictions", "left out") and not case.is_classes:
        scale = np.ptp(case.targets, axis=0)
    elif kind in ("bandwidths", "losses"):
        scale = np.abs(before)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.abs(after - before) / np.where(scale > 0, scale, 1)
    off = np.where((before == after) | (np.isnan(before) & np.isnan(after)), 0, off)
    return float(np.nan_to_num(off, nan=np.inf).max(initial=0))


def compare_results(before, after, n_random, only=""):
    """Rows: by kind of result, how many were compared, the worst difference and where, and how many are too large."""
    found = {kind: {} for kind in BOUNDS}
    for case in chain(named_cases(only), map(random_case, range(n_random))):
        if only not in case.name:
            continue
        for version in (before, after):
            version.send("answer", case)
        old, new = before.receive(), after.receive()
        for kind, algorithm in old:
            off = difference(kind, old[kind, algorithm], new[kind, algorithm], case)
            found[kind.replace("attention left out", "attention")][f"{case.name}, {kind}, {algorithm}"] = off
    for kind, differences in found.items():
        if differences:
            worst = max(differences, key=differences.get)
            above = sum(off > BOUNDS[kind] for off in differences.values())
            yield {
                "result": kind,
                "compared": len(differences),
                "worst difference": differences[worst],
                "bound": BOUNDS[kind],
                "above it": above,
                "worst of": worst if differences[worst] else "",
            }


def compare_times(before, after, rounds, only=""):
    """Rows: by case and action, the seconds before, and the median ratio of the seconds after to those before."""
    ratios = {}
    for case, actions in timed_cases():
        names = {action: f"{case.name}: {action}" for action in actions if only in f"{case.name}: {action}"}
        if not names:
            continue
        for version in (before, after):
            version.ask("load", case)
        for action, name in names.items():
            seconds = _time_both(before, after, action, rounds)
            ratios[name] = np.median(seconds[:, 1] / seconds[:, 0])
            yield {"case": name, "seconds before": np.median(seconds[:, 0]), "after / before": ratios[name]}
    if ratios:
        worst = max(ratios, key=ratios.get)
        yield {"case": f"worst: {worst}", "after / before": ratios[worst]}
        yield {
            "case": f"geometric mean of {len(ratios)}",
            "after / before": np.exp(np.mean(np.log([*ratios.values()]))),
        }


def _time_both(before, after, action, rounds):
    """Seconds (rounds, 2) of an action, one version after the other, after a round to warm up."""
    for version in (before, after):
        version.ask("seconds", action)
    seconds = []
    while len(seconds) < rounds and (len(seconds) < 5 or np.sum(seconds) < 2 * ALLOTMENT):
        seconds.append([version.ask("seconds", action) for version in (before, after)])
    return np.array(seconds)


def print_versions(path, rounds, n_random, only=""):
    """Both comparisons of this checkout with the one at `path`."""
    with Version(path) as before, Version(HERE) as after:
        for row in chain(compare_results(before, after, n_random, only), compare_times(before, after, rounds, only)):
            numbers = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()]
            print("; ".join(f"{name} {number}" for name, number in zip(row, numbers, strict=True)), flush=True)


def serve():
    """Do orders from the standard input until it ends."""
    worker, results = Worker(), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else is printed goes to the standard error
    warnings.simplefilter("ignore")
    while True:
        try:
            name, argument = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(getattr(worker, name)(argument), results)
        results.flush()


if __name__ == "__main__":
    serve()
