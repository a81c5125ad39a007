"""Where the page of an estimator is: scikit-learn's HTML of an estimator links to it.

The host comes from the metadata of the distribution, where `[project.urls]` of pyproject.toml puts it. While no
documentation is published there is no link.
"""

from importlib.metadata import PackageNotFoundError, metadata

API_PAGE = "generated/{estimator_module}.{estimator_name}.html"
"""The page of an estimator, below the root of the documentation."""


def page_template():
    """Where the pages of estimators are, for scikit-learn to fill in; empty if there is no published documentation."""
    try:
        urls = metadata("scikit-nw").get_all("Project-URL", [])
    except PackageNotFoundError:  # a checkout that is not installed
        return ""
    for url in urls:
        label, root = url.split(", ", 1)
        if label.lower() == "documentation":
            return f"{root.rstrip('/')}/{API_PAGE}"
    return ""
