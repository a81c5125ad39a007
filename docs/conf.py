"""How the documentation is built: `sphinx-build -W --keep-going docs docs/_build/html`, without any network."""

from docutils.nodes import SkipNode
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.errors import SphinxError

import sknw
from sknw._base import API_PAGE

project = "scikit-nw"
author = "the scikit-nw developers"
version = release = sknw.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    "matplotlib.sphinxext.plot_directive",
]
default_role = "obj"
exclude_patterns = ["_build"]
templates_path = ["_templates"]
toc_object_entries_show_parents = "hide"

numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\d\d_",
    "ignore_pattern": "quickstart",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("sknw",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"sknw": None},
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
}

plot_formats = [("png", 120)]
plot_html_show_formats = False
plot_html_show_source_link = False
plot_include_source = True

html_theme = "pydata_sphinx_theme"
html_title = "scikit-nw"
html_static_path = ["_static"]
html_css_files = ["style.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False, "footer_end": []}


def skip_foreign(app, what, name, obj, skip, options):
    """Leave what estimators inherit from scikit-learn to its own documentation."""
    return (getattr(obj, "__module__", None) or "").startswith("sklearn") or None


def render_math(translator, node):
    """MathML, which browsers draw themselves: MathJax would come from another host."""
    block = node.tagname == "math_block"
    mathml = tex2mathml(node.astext(), as_block=block)
    translator.body.append(f'<div class="math">{mathml}</div>' if block else mathml)
    raise SkipNode


def check_links(app, error):
    """The pages that the estimators' HTML links to are there."""
    for name in [name for name in sknw.__all__ if name.endswith(("Regressor", "Classifier"))]:
        page = app.outdir / API_PAGE.format(estimator_module="sknw", estimator_name=name)
        if error is None and app.builder.format == "html" and not page.exists():
            raise SphinxError(f"estimators link to {page}, which was not built")


def setup(app):
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("build-finished", check_links)
    app.add_html_math_renderer("mathml", (render_math, None), (render_math, None))
