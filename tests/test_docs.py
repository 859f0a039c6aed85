"""The documentation does what it says: every program in it runs, every name and promise in it exists."""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest

import anyio_workflows
from anyio_workflows import Context, StartEvent, StopEvent, Workflow, step

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PRINTING = [path for path in EXAMPLES if path.with_suffix(".txt").exists()]
FOUND_BY_OTHER_PROCESSES = DOCS / "examples" / "cpu_bound.py"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("how-to/*.md"))]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def load(path: Path) -> ModuleType:
    """Return the example as a fresh module."""
    spec = importlib.util.spec_from_file_location(f"docs_example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def python_blocks() -> list[Any]:
    """Return every block of Python that stands in a page itself, with the block that follows it."""
    found = []
    for page in PAGES:
        blocks = BLOCK.findall(page.read_text())
        for number, (language, text) in enumerate(blocks):
            if language == "python":
                output = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
                printed = output[1] if output[0] == "text" else None
                found.append(pytest.param(text, printed, id=f"{page.stem}-{number}"))
    return found


def test_every_example_is_shown_on_a_page_and_prints_what_a_file_beside_it_says() -> None:
    """A program that no page includes is not documentation; one without its output is not checked."""
    shown = {
        (page.parent / target).resolve()
        for page in PAGES
        for target in re.findall(r"\{literalinclude\} (\S+)", page.read_text())
    }
    assert {*EXAMPLES, *(path.with_suffix(".txt") for path in PRINTING)} == shown
    assert [path.stem for path in EXAMPLES if path not in PRINTING] == ["server"]


@pytest.mark.parametrize(
    "path", [path for path in PRINTING if path != FOUND_BY_OTHER_PROCESSES], ids=lambda path: path.stem
)
async def test_an_example_prints_what_its_page_shows(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with anyio.fail_after(5):
        await load(path).main()
    assert path.with_suffix(".txt").read_text() == capsys.readouterr().out


def test_the_example_with_processes_prints_what_its_page_shows() -> None:
    """They import it, so it has to be a program."""
    ran = subprocess.run(
        [sys.executable, FOUND_BY_OTHER_PROCESSES],
        env={**os.environ, "PYTHONPATH": str(Path(anyio_workflows.__file__).parent.parent)},
        check=True,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert FOUND_BY_OTHER_PROCESSES.with_suffix(".txt").read_text() == ran.stdout


@pytest.mark.parametrize(("text", "printed"), python_blocks())
def test_a_block_of_a_page_is_python_and_names_what_there_is(text: str, printed: str | None) -> None:
    """Most blocks are fragments: they must compile, and import public names only."""
    compile(text, "<block>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module == "anyio_workflows":
            assert {alias.name for alias in node.names} <= set(anyio_workflows.__all__)
    assert ("def main" in text) == (printed is not None)


@pytest.mark.parametrize(
    ("text", "printed"), [block for block in python_blocks() if block.values[1] is not None]
)
async def test_a_whole_program_in_a_page_prints_what_follows_it(
    text: str, printed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("docs_block")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "<block>", "exec"), vars(module))
    with anyio.fail_after(5):
        await module.main()
    assert printed == capsys.readouterr().out


def test_the_semantics_page_has_every_promise_once_and_says_which_are_not_yet_kept() -> None:
    """Code, tests and error reports name promises by number, so none may be missing or double."""
    page = (DOCS / "semantics.md").read_text()
    kept, not_yet = page.split("## Not yet")
    numbers = Counter(re.findall(r"^\*\*(S-[A-Z]+-\d+)\*\*", kept, re.MULTILINE))
    families = {
        "EV": 4,
        "DEF": 5,
        "RUN": 6,
        "SEND": 5,
        "WORK": 3,
        "COL": 5,
        "WAIT": 4,
        "STR": 4,
        "STATE": 4,
        "CKPT": 8,
    }
    expected = {f"S-{name}-{number}" for name, count in families.items() for number in range(1, count + 1)}
    expected |= {"S-FAIL-1", "S-FAIL-2", "S-FAIL-3", "S-FAIL-4", "S-DET-1", "S-DET-2"}
    assert dict.fromkeys(expected, 1) == numbers
    in_part = {"S-CKPT-3", "S-CKPT-6"}
    later = {"S-DET-3", *in_part}
    assert later == set(re.findall(r"^\*\*(S-[A-Z]+-\d+)\*\*", not_yet, re.MULTILINE))


def test_every_public_name_is_on_the_reference_page_once() -> None:
    """Public is what is in ``__all__`` and on that page."""
    page = (DOCS / "reference.md").read_text()
    documented = re.findall(r"^\.\. auto(?:class|exception|function|decorator):: (\w+)$", page, re.MULTILINE)
    assert sorted(anyio_workflows.__all__) == sorted(documented)


def test_every_error_is_explained_on_the_page_about_errors() -> None:
    page = (DOCS / "cancellation-and-errors.md").read_text()
    errors = [
        name
        for name in anyio_workflows.__all__
        if isinstance(getattr(anyio_workflows, name), type)
        and issubclass(getattr(anyio_workflows, name), BaseException)
    ]
    assert [name for name in errors if f"`{name}`" not in page] == []


def test_a_link_from_one_page_to_another_leads_somewhere() -> None:
    """Sphinx sees to the pages of the documentation; nobody else does to the README."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text())
    assert [link for link in links if not (ROOT / link).exists()] == []
    assert len(links) > 3


# --- the server of the page about embedding


class Client:
    """Just enough of an ASGI server to hold a conversation with the example."""

    def __init__(self, app: Any) -> None:
        self.app = app

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Client"]:
        """Run the lifespan of the application around the block."""
        to_app, from_test = anyio.create_memory_object_stream[dict[str, str]](2)
        to_test, from_app = anyio.create_memory_object_stream[dict[str, str]](2)
        with to_app, from_test, to_test, from_app:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.app, {"type": "lifespan"}, from_test.receive, to_test.send)
                await to_app.send({"type": "lifespan.startup"})
                assert await from_app.receive() == {"type": "lifespan.startup.complete"}
                yield self
                await to_app.send({"type": "lifespan.shutdown"})
                assert await from_app.receive() == {"type": "lifespan.shutdown.complete"}

    async def request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, leave_after: int | None = None
    ) -> tuple[int, str]:
        """Return status and body; with *leave_after*, disconnect after so many parts of the body."""
        sent: list[dict[str, Any]] = []
        gone = anyio.Event()
        is_asked = False

        async def receive() -> dict[str, Any]:
            nonlocal is_asked
            if not is_asked:
                is_asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)
            if leave_after is not None and len(sent) > leave_after:
                gone.set()

        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        await self.app({"type": "http", "method": method, "path": path, "headers": raw}, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode()

    async def start(self, item: str) -> str:
        """Start a run and return its id."""
        status, body = await self.request("POST", f"/runs/{item}")
        assert status == 202
        run_id = json.loads(body)["run_id"]
        assert isinstance(run_id, str)
        return run_id


def server_app() -> Any:
    return load(DOCS / "examples" / "server.py").App()


PARTS = (
    'id: 1\nevent: Progress\ndata: {"percent": 50}\n\n',
    'id: 2\nevent: Progress\ndata: {"percent": 100}\n\n',
    'id: 3\nevent: StopEvent\ndata: {"result": "one cake"}\n\n',
)


class Oven(Workflow):
    """Says one thing and goes on until the test opens it."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = anyio.Event()
        self.was_cancelled = False

    @step
    async def bake(self, ctx: Context, ev: StartEvent) -> StopEvent:
        ctx.write_event_to_stream(StopEvent(result="dough"))
        try:
            await self.opened.wait()
        except anyio.get_cancelled_exc_class():
            self.was_cancelled = True
            raise
        return StopEvent(result=ev.item)


async def test_the_server_streams_a_run_that_another_request_has_started() -> None:
    with anyio.fail_after(5):
        async with Client(server_app()).serving() as client:
            run_id = await client.start("cake")
            assert (200, "".join(PARTS)) == await client.request("GET", f"/runs/{run_id}")


async def test_the_server_goes_on_where_a_client_that_comes_back_has_stopped() -> None:
    with anyio.fail_after(5):
        async with Client(server_app()).serving() as client:
            run_id = await client.start("cake")
            again = await client.request("GET", f"/runs/{run_id}", headers={"last-event-id": "2"})
            assert (200, PARTS[2]) == again


async def test_a_client_that_goes_away_ends_its_response_and_not_the_run() -> None:
    with anyio.fail_after(5):
        app = server_app()
        app.workflow = oven = Oven()
        async with Client(app).serving() as client:
            run_id = await client.start("cake")
            await client.request("GET", f"/runs/{run_id}", leave_after=1)
            assert not app.runs[run_id].is_done()
            oven.opened.set()
            assert await app.runs[run_id] == "cake"


async def test_the_server_cancels_a_run_on_request() -> None:
    with anyio.fail_after(5):
        app = server_app()
        app.workflow = oven = Oven()
        async with Client(app).serving() as client:
            run_id = await client.start("cake")
            await client.request("GET", f"/runs/{run_id}", leave_after=1)
            assert await client.request("DELETE", f"/runs/{run_id}") == (200, '{"is_done": true}')
            assert oven.was_cancelled


async def test_the_server_lets_a_run_end_when_it_is_shut_down() -> None:
    with anyio.fail_after(5):
        app = server_app()
        async with Client(app).serving() as client:
            run_id = await client.start("cake")
        assert await app.runs[run_id] == "one cake"


async def test_the_server_says_that_it_knows_no_such_run() -> None:
    with anyio.fail_after(5):
        async with Client(server_app()).serving() as client:
            status, body = await client.request("GET", "/runs/nothing")
            assert status == 404
            assert "knows no run 'nothing'" in json.loads(body)["error"]
