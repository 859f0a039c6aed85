"""Everything that checks the project; ``nox -l`` lists it."""

from pathlib import Path

import nox

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))
OLDEST = PYTHONS[0]

nox.needs_version = ">=2025.10"
nox.options.default_venv_backend = "uv|virtualenv"
# uv would fetch an interpreter that is missing; a session without one is skipped instead.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "docs", "tests"]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests against the built package."""
    session.install(".[dev]")
    session.run("python", "-m", "pytest", *session.posargs, env=INSTALLED_ONLY)


# Without it, `python -m` puts the work tree first and the built package goes untested.
INSTALLED_ONLY = {"PYTHONSAFEPATH": "1"}


@nox.session(python=OLDEST)
def coverage(session: nox.Session) -> None:
    """Show which lines and branches no test reaches."""
    session.install(".[dev]")
    session.run("coverage", "erase")
    session.run("coverage", "run", "-m", "pytest", *session.posargs, env=INSTALLED_ONLY)
    session.run("coverage", "combine")
    session.run("coverage", "report")


@nox.session(python=OLDEST)
def crashes(session: nox.Session) -> None:
    """Kill hundreds of programs in the middle of their runs, and let them go on."""
    session.install(".[dev]")
    env = {**INSTALLED_ONLY, "ANYIO_WORKFLOWS_CRASHES": "100"}
    tests = ("tests/test_real_crashes.py", "--timeout", "1800")
    session.run("python", "-m", "pytest", *tests, *session.posargs, env=env)


@nox.session(python=OLDEST)
def gallery(session: nox.Session) -> None:
    """Try a thousand schedules on each workflow of the gallery that is free of its bug."""
    session.install(".[dev]")
    env = {**INSTALLED_ONLY, "ANYIO_WORKFLOWS_EXAMPLES": "1000"}
    tests = ("tests/testing/test_gallery.py", "--timeout", "600")
    session.run("python", "-m", "pytest", *tests, *session.posargs, env=env)


@nox.session(python=OLDEST)
def mutations(session: nox.Session) -> None:
    """Put faults into the engine, one at a time; the tests under explored schedules have to notice each."""
    session.install("-e", ".[dev]")
    session.run("python", "tests/mutations/run.py", *session.posargs)


@nox.session(python=OLDEST)
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that are allowed."""
    if session.venv_backend != "uv":
        session.skip("pip cannot resolve to the lowest versions; install uv")
    session.install("--resolution", "lowest-direct", ".[dev]")
    session.run("python", "-m", "pytest", *session.posargs, env=INSTALLED_ONLY)


@nox.session(python=OLDEST)
def lint(session: nox.Session) -> None:
    """Check style, spelling, dependencies, layers and the use of AnyIO."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("codespell")
    session.run("deptry", ".")
    session.run("lint-imports")
    sources = map(str, sorted(Path("anyio_workflows").rglob("*.py")))
    # 106: two modules are imported late; 109: LlamaIndex Workflows' own parameters; 910, 913: only what is public
    # has to be a checkpoint, and that is tested.
    session.run("flake8-async", "--anyio", "--disable=ASYNC106,ASYNC109,ASYNC910,ASYNC913", *sources)


@nox.session(python=OLDEST)
def types(session: nox.Session) -> None:
    """Check types as mypy sees them, and as users of another checker do."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("basedpyright")
    session.run("basedpyright", "--ignoreexternal", "--verifytypes", "anyio_workflows")


SPHINX = ("sphinx-build", "-E", "-n", "-q", "-W", "--keep-going", "-b")


@nox.session(python=OLDEST)
def docs(session: nox.Session) -> None:
    """Build the documentation; a warning or a dead reference is an error."""
    session.install("-e", ".[dev]")
    session.run(*SPHINX, "html", "docs", "docs/_build/html")
    session.run(*SPHINX, "doctest", "docs", "docs/_build/doctest")


@nox.session(python=OLDEST)
def examples(session: nox.Session) -> None:
    """Run every example, with nothing installed but what a user has."""
    session.install(".[trio,cli]")
    for example in sorted(Path("examples").glob("*.py")):
        session.run("python", str(example), *session.posargs)


@nox.session(python=OLDEST)
def bench(session: nox.Session) -> None:
    """Measure the engine beside its hand-written floors."""
    session.install(".[trio,cli]", "uvloop")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session(name="bench-peers", python=OLDEST)
def bench_peers(session: nox.Session) -> None:
    """Measure the engine beside other libraries that do the same work."""
    session.install(".[trio,cli]", "llama-index-workflows", "langgraph", "pydantic-graph", "apache-burr")
    session.run("python", "benchmarks/peers.py", *session.posargs)
