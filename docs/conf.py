"""Sphinx configuration: MyST pages, Google docstrings, every reference checked."""

import sys
from importlib.metadata import version as installed_version

from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

import anyio_workflows

project = "anyio_workflows"
author = "the anyio_workflows authors"
copyright = "2026, the anyio_workflows authors"  # noqa: A001  # the name that Sphinx reads
release = version = installed_version("anyio-workflows")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"anyio_workflows {release}"

nitpicky = True
# No inventory of another project is fetched: the build must not need a network.
nitpick_ignore_regex = [
    ("py:.*", r"(anyio|asyncio|attrs?|collections|contextlib|enum|rich|trio|types|typing)\..*"),
    (
        "py:(class|exc|obj)",
        r"(Base)?Exception(Group)?|(Key|OS|Runtime|Timeout|Type|Value)Error|Any|Callable|None",
    ),
    ("py:(class|obj)", r"bool|bytes|dict|float|frozenset|int|list|object|set|str|tuple|type|optional"),
    ("py:obj", "result"),  # a keyword of StopEvent that is readable as an attribute, but declared nowhere
]

default_role = "py:obj"
myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"

napoleon_numpy_docstring = False
napoleon_custom_sections = ["Cancellation"]


def setup(app: Sphinx) -> None:  # noqa: ARG001  # called by Sphinx
    """Let autodoc find the attribute docstrings of what is re-exported.

    It looks for them in the source of a class's ``__module__``, which is the public package, while they
    stand in the private module that defines the class.
    """
    public = ModuleAnalyzer.for_module(anyio_workflows.__name__)
    public.analyze()
    for name in sorted(sys.modules):
        if name.startswith(f"{anyio_workflows.__name__}."):
            private = ModuleAnalyzer.for_module(name)
            private.analyze()
            public.attr_docs.update(private.attr_docs)
            public.annotations.update(private.annotations)
            public.tagorder.update(private.tagorder)
