"""Index a tree of Python source: what is in it, what is longest, and which files do not parse.

One event per file goes through a pipeline that never holds more than a few of them, to plain functions on
worker threads; a progress bar follows the run's stream.

Run it with ``python examples/index_code.py [path] [--workers 4] [--backend trio]``; without a path it indexes
the standard library of the Python that runs it. It ends with 0, with 1 if there is nothing to index, with 2 if
it was called wrongly.

With ``--store runs.db`` it can be killed, by whatever means: called again, it goes on where it was, and once it
is done it shows the report again without reading a file. ``--run-id`` names a run; by default each tree has one.
"""

import argparse
import ast
import os
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from anyio_workflows import (
    Context,
    Event,
    StartEvent,
    StopEvent,
    UnknownRunError,
    Workflow,
    WorkflowCheckpointer,
    WorkflowError,
    WorkflowHandler,
    step,
)
from anyio_workflows.stores import SqliteCheckpointStore

try:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.table import Column, Table
except ModuleNotFoundError:
    print("this example draws with rich; install it: pip install 'anyio-workflows[cli]'", file=sys.stderr)
    sys.exit(2)

SKIPPED = {"__pycache__", "dist-packages", "site-packages"}
"""Folders that hold other people's code, or none."""

BATCH = 64
"""Files that one execution of `feed` sends."""

_parsing = threading.Lock()

_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")
"""Where a statement holds others; handlers and cases are none themselves, but hold some."""


# --- What is known of a file


@attrs.frozen(kw_only=True)
class Function:
    """A function or method, and where it stands."""

    name: str
    path: Path
    first_line: int
    lines: int


@attrs.frozen(kw_only=True)
class Module:
    """A file that parses."""

    path: Path
    lines: int
    functions: int
    classes: int
    longest: Function | None


@attrs.frozen(kw_only=True)
class Unparsable:
    """A file that does not."""

    path: Path
    reason: str


def index_file(path: Path) -> Module | Unparsable:
    """Read and parse the file at *path*; whatever is wrong with it is part of the answer."""
    try:
        source = path.read_bytes()
        # One at a time: CPython 3.11 counts the depth of the tree it builds for all threads together, and fails
        # with a SystemError when two of them build one (python/cpython#106905).
        with _parsing:
            tree = ast.parse(source)  # bytes, so that the parser finds the encoding by itself
        statements = list(_statements(tree))
    except SyntaxError as error:
        where = f"line {error.lineno}: " if error.lineno else ""
        return Unparsable(path=path, reason=f"{where}{error.msg}")
    # A null byte is a ValueError on some Pythons; code that is nested too deeply is one of the last two.
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        return Unparsable(path=path, reason=str(error) or f"nested too deeply ({type(error).__name__})")
    functions = [
        Function(name=node.name, path=path, first_line=node.lineno, lines=_height(node))
        for node in statements
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return Module(
        path=path,
        lines=len(source.splitlines()),
        functions=len(functions),
        classes=sum(isinstance(node, ast.ClassDef) for node in statements),
        longest=max(functions, key=lambda function: function.lines, default=None),
    )


def _statements(tree: ast.Module) -> Iterator[ast.AST]:
    """Return every statement of *tree*: unlike `ast.walk`, it looks into no expression, where most nodes are."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        for field in _BLOCKS:
            block = getattr(node, field, ())
            waiting += block
            yield from block


def _height(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def find_sources(root: Path) -> tuple[Path, ...]:
    """Return every Python file below *root*, in an order that is the same every time."""
    return tuple(_walk(root))


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED and not name.startswith("."))
        paths = (Path(folder, name) for name in sorted(names) if name.endswith(".py"))
        yield from (path for path in paths if path.is_file())


# --- The workflow


class IndexTree(StartEvent):
    root: Path


class FilesLeft(Event):
    paths: tuple[Path, ...]


class SourceFile(Event):
    path: Path


class FileIndexed(Event):
    record: Module | Unparsable


class IndexGrew(Event):
    """For the progress bar."""

    done: int
    of: int


class TreeIndexed(StopEvent):
    root: Path
    records: tuple[Module | Unparsable, ...]


@attrs.define
class Tree:
    """What the run knows as a whole."""

    root: Path = Path()
    files: int = 0
    done: int = 0


class CodeIndex(Workflow):
    """Find the files, feed them to the parser, collect what it says."""

    @step
    async def find(self, ctx: Context[Tree], ev: IndexTree) -> FilesLeft | TreeIndexed:
        paths = await anyio.to_thread.run_sync(find_sources, ev.root)
        if not paths:
            return TreeIndexed(root=ev.root, records=())
        await ctx.store.set_state(Tree(root=ev.root, files=len(paths)))
        ctx.write_event_to_stream(IndexGrew(done=0, of=len(paths)))
        return FilesLeft(paths=paths)

    @step
    async def feed(self, ctx: Context[Tree], ev: FilesLeft) -> SourceFile | FilesLeft | None:
        # A long source is written as many short executions: in a run that is stored, each remembers what it
        # has sent until it ends.
        for path in ev.paths[:BATCH]:
            await ctx.send(SourceFile(path=path))
        left = ev.paths[BATCH:]
        return FilesLeft(paths=left) if left else None

    @step
    def parse(self, ev: SourceFile) -> FileIndexed:
        return FileIndexed(record=index_file(ev.path))

    @step
    async def collect(self, ctx: Context[Tree], ev: FileIndexed) -> TreeIndexed | None:
        async with ctx.store.edit_state() as tree:
            tree.done += 1
            ctx.write_event_to_stream(IndexGrew(done=tree.done, of=tree.files))
        indexed = ctx.collect_events(ev, {FileIndexed: tree.files})
        if indexed is None:
            return None
        return TreeIndexed(root=tree.root, records=tuple(event.record for event in indexed))


async def index_tree(
    root: Path, workers: int, store: Path | None = None, run_id: str = "index"
) -> TreeIndexed:
    """Index the tree at *root*, parsing *workers* files at once.

    With a *store*, the run of that id goes on, if there is one, and else begins.
    """
    workflow = CodeIndex()
    if store is None:
        return await follow(workflow.run(root=root), workers)
    async with SqliteCheckpointStore(store) as runs:
        checkpointer = WorkflowCheckpointer(workflow=workflow, store=runs)
        try:
            handler = await checkpointer.resume(run_id)
        except UnknownRunError:
            handler = checkpointer.run(root=root, run_id=run_id)
        return await follow(handler, workers)


async def follow(handler: WorkflowHandler, workers: int) -> TreeIndexed:
    """Run *handler* to its end, with a progress bar on stderr."""
    bar = Progress(
        TextColumn("Indexing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )
    async with handler:
        handler.limiter("parse").total_tokens = workers
        with bar:
            task = bar.add_task("files", total=None, visible=False)
            async for event in handler.stream_events():
                if isinstance(event, IndexGrew):
                    bar.update(task, completed=event.done, total=event.of, visible=True)
    tree: TreeIndexed = await handler
    return tree


# --- What is shown


def print_report(console: Console, tree: TreeIndexed) -> None:
    """Print what *tree* amounts to."""
    # They came in the order in which they were parsed, which is another one every time.
    records = sorted(tree.records, key=lambda record: record.path)
    modules = [record for record in records if isinstance(record, Module)]
    unparsable = [record for record in records if isinstance(record, Unparsable)]
    console.print(_totals(tree.root, modules))
    if unparsable:
        console.print(_table_of_unparsable(tree.root, unparsable))


def _totals(root: Path, modules: Sequence[Module]) -> Table:
    table = Table(title=str(root), show_header=False)
    table.add_row("modules", f"{len(modules):,}")
    table.add_row("functions", f"{sum(module.functions for module in modules):,}")
    table.add_row("classes", f"{sum(module.classes for module in modules):,}")
    table.add_row("lines", f"{sum(module.lines for module in modules):,}")
    functions = [module.longest for module in modules if module.longest is not None]
    if functions:
        function = max(functions, key=lambda function: function.lines)
        where = f"{function.path.relative_to(root)}:{function.first_line}"
        table.add_row("longest function", f"{function.name}, {function.lines:,} lines, {where}")
    if modules:
        module = max(modules, key=lambda module: module.lines)
        table.add_row("longest module", f"{module.path.relative_to(root)}, {module.lines:,} lines")
    return table


def _table_of_unparsable(root: Path, unparsable: Sequence[Unparsable]) -> Table:
    table = Table(Column("file", overflow="fold"), "reason", title=f"{len(unparsable):,} files do not parse")
    for record in unparsable:
        table.add_row(str(record.path.relative_to(root)), record.reason)
    return table


# --- The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Index the tree that *arguments* name, and return the exit code."""
    options = _parse(arguments)
    try:
        # What the parsed sources are warned of is their authors' business.
        with warnings.catch_warnings(action="ignore"):
            tree = anyio.run(
                index_tree,
                options.path,
                options.workers,
                options.store,
                options.run_id,
                backend=options.backend,
            )
    except KeyboardInterrupt:
        return 130
    except WorkflowError as error:  # of the store: a step's own errors are records
        print(error, file=sys.stderr)
        return 2
    if not tree.records:
        print(f"there is no Python file below {tree.root}", file=sys.stderr)
        return 1
    print_report(Console(markup=False, highlight=False), tree)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Index a tree of Python source.")
    parser.add_argument(
        "path",
        nargs="?",
        type=Path,
        default=sysconfig.get_path("stdlib"),
        help="the tree; default: %(default)s",
    )
    parser.add_argument("--workers", type=int, default=4, help="files to parse at once; default: %(default)s")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    parser.add_argument("--store", type=Path, metavar="FILE", help="where the run is kept, to go on from")
    parser.add_argument("--run-id", help="which run of the store; default: the one of the tree")
    options = parser.parse_args(arguments)
    if not options.path.is_dir():
        parser.error(f"{options.path} is no folder; name one that holds Python source")
    if options.workers < 1:
        parser.error(f"--workers {options.workers} parses nothing; give 1 or more")
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("trio is not installed; install it: pip install 'anyio-workflows[trio]'")
    if options.run_id and not options.store:
        parser.error("--run-id names a run of a store; give --store runs.db as well")
    options.run_id = options.run_id or str(options.path.resolve())
    return options


if __name__ == "__main__":
    sys.exit(main())
