"""Sphinx configuration."""

import sk_arcal

project = "sk-arcal"
author = "The sk-arcal developers"
copyright = "2026, the sk-arcal developers"
version = release = sk_arcal.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "Thumbs.db"]
templates_path = ["_templates"]
default_role = "literal"

# One page per public object. The class template lists members; numpydoc's own member tables
# would list them a second time.
autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
# Labels like [1] are local to a docstring; without renaming they clash between pages.
numpydoc_citation_re = r"[\w-]+"

html_theme = "pydata_sphinx_theme"
html_title = "sk-arcal"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
toc_object_entries_show_parents = "hide"
# Pages without siblings need no list of them.
html_sidebars = {
    page: []
    for page in (
        "quickstart",
        "glossary",
        "benchmarks",
        "calibrator_benchmarks",
        "contributing",
        "changelog",
        "user_guide/architectures",
    )
}
html_theme_options = {"navigation_with_keys": False, "show_prev_next": False}

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "doc_module": ("sk_arcal",),
    "backreferences_dir": "generated/backreferences",
    "reference_url": {"sk_arcal": None},
    "show_memory": False,
    "download_all_examples": False,
    "min_reported_time": 60,
}


def skip_members_of_others(app, what, name, obj, skip, options):
    """Leave out what a class inherits from scikit-learn or torch.

    Those docstrings are documented there and refer to labels of their sites, which this site does
    not have.
    """
    home = getattr(obj, "__module__", None) or ""
    return True if home.split(".")[0] in {"sklearn", "torch"} else None


def setup(app):
    """Connect the hook above."""
    app.connect("autodoc-skip-member", skip_members_of_others)
