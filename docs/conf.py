"""Sphinx configuration: MyST pages, Google docstrings, every reference checked."""

import sys
from importlib.metadata import version as installed_version

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer

import anyio_workflows

project = "anyio_workflows"
author = "the anyio_workflows authors"
copyright = "2026, the anyio_workflows authors"  # noqa: A001  # the name that Sphinx reads
release = version = installed_version("anyio-workflows")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.doctest", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "examples"]
html_theme = "furo"
html_title = f"anyio_workflows {release}"

nitpicky = True
# No inventory of another project is fetched: the build must not need a network.
nitpick_ignore_regex = [
    (
        "py:.*",
        r"(anyio|asyncio|attrs?|collections|contextlib|enum|hypothesis|opentelemetry|os|rich|trio|types|typing)\..*",
    ),
    ("py:class", r"datetime\.datetime"),
    (
        "py:(class|exc|obj)",
        r"(Base)?Exception(Group)?|(Key|OS|Runtime|Timeout|Type|Value)Error|Any|Callable|None|TaskStatus",
    ),
    ("py:(class|obj)", r"bool|bytes|dict|float|frozenset|int|list|object|set|str|tuple|type|optional"),
    # Variables and private classes in signatures: they are readable there, and have no page of their own.
    (
        "py:(class|obj)",
        r"anyio_workflows\.(_|testing\.store_).*|\.\.\.|StateT|EventT|ResultT(_co)?|build_graph",
    ),
    ("py:obj", "epoch|last_sequence"),  # of RunInfo, in the docstring of an argument of that type
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


NOT_CONSTRUCTED_BY_USERS = (
    "Checkpoint",
    "CollectedEvents",
    "Context",
    "EventReader",
    "Graph",
    "PendingEvent",
    "StateStore",
    "WorkflowHandler",
)
"""Classes whose objects a user is given; how they are made is private."""


def hide_constructor(
    _app: Sphinx, _what: str, name: str, _obj: object, _options: object, _signature: str, returns: str
) -> tuple[str, str] | None:
    """Leave out the constructor's parameters of a class that users don't construct."""
    return ("", returns) if name.removeprefix("anyio_workflows.") in NOT_CONSTRUCTED_BY_USERS else None


def hide_private_bases(_app: Sphinx, _name: str, _obj: object, _options: object, bases: list[type]) -> None:
    """Leave out base classes that are private: there is nothing to read about them."""
    bases[:] = [base for base in bases if "._" not in getattr(base, "__module__", "")] or [object]


def keep_first_colon(
    _app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Keep Napoleon from reading the first words of an attribute's docstring, up to a colon, as its type."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]  # an empty comment


def find_in_other_public_modules(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Element
) -> Element | None:
    """Find what a docstring of one public module says of another: a reader knows it by its last name."""
    if node["refdomain"] != "py":
        return None
    domain = env.get_domain("py")
    for module in ("anyio_workflows", "anyio_workflows.abc"):
        target = f"{module}.{node['reftarget']}"
        found = domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], target, node, contnode)
        if found is not None:
            return found
    return None


def setup(app: Sphinx) -> None:
    """Show what is public as users see it, and let autodoc find the attribute docstrings of what is re-exported.

    It looks for them in the source of a class's ``__module__``, which is the public package, while they
    stand in the private module that defines the class.
    """
    app.connect("missing-reference", find_in_other_public_modules)
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("autodoc-process-bases", hide_private_bases)
    app.connect("autodoc-process-docstring", keep_first_colon, priority=400)  # before Napoleon
    public = ModuleAnalyzer.for_module(anyio_workflows.__name__)
    public.analyze()
    for name in sorted(sys.modules):
        if name.startswith(f"{anyio_workflows.__name__}."):
            private = ModuleAnalyzer.for_module(name)
            private.analyze()
            public.attr_docs.update(private.attr_docs)
            public.annotations.update(private.annotations)
            public.tagorder.update(private.tagorder)
