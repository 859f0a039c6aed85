"""examples/index_code.py, the pipeline that the README begins with."""

import importlib.util
import runpy
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROGRAM = Path(__file__).parent.parent / "examples" / "index_code.py"

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

FILES: dict[str, bytes] = {
    "first.py": b"def one():\n    pass\n\n\nclass A:\n    async def two(self):\n        x = 1\n        return x\n",
    "package/second.py": b"if True:\n    def three():\n        def four(): ...\n",
    "package/third.py": b"try:\n    pass\nexcept E:\n    class B: ...\nmatch 1:\n    case 1:\n        class C: ...\n",
    "latin.py": "# coding: latin-1\nname = 'Zoë'\n".encode("latin-1"),
    "empty.py": b"",
    "wrong.py": b"x = 1\nprint 'no'\n",
    "undecodable.py": b"name = '\xff'\n",
    "coding.py": b"# coding: klingon\n",
    "null.py": b"x = 1\0\n",
    "deep.py": b"-" * 100_000 + b"1",
    "chain.py": b"x" + b".a" * 50_000,
    "site-packages/theirs.py": b"class Theirs: ...\n",
    ".hidden/secret.py": b"class Secret: ...\n",
    "notes.txt": b"class Text: ...\n",
}


@pytest.fixture
def index_code() -> ModuleType:
    spec = importlib.util.spec_from_file_location("index_code", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "folder.py").mkdir()
    (tmp_path / "dangling.py").symlink_to(tmp_path / "nowhere.py")
    return tmp_path


@pytest.fixture
def table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that gives the rows that were printed, each as its cells."""
    monkeypatch.setenv("COLUMNS", "200")

    def rows() -> dict[str, str]:
        lines = capsys.readouterr().out.splitlines()
        cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if "│" in line]
        return {row[0]: row[1] for row in cells}

    return rows


@on_both_backends
def test_it_reports_what_is_in_the_tree_what_is_longest_and_what_does_not_parse(
    backend: str, index_code: ModuleType, tree: Path, table: Any
) -> None:
    code = index_code.main([str(tree), "--backend", backend, "--workers", "3"])

    rows = table()
    assert code == 0
    assert rows["modules"] == "5"
    assert rows["functions"] == "4"
    assert rows["classes"] == "3"
    assert rows["lines"] == "20"
    assert rows["longest function"] == "two, 3 lines, first.py:6"
    assert rows["longest module"] == "first.py, 8 lines"
    assert "line 2: Missing parentheses" in rows["wrong.py"]
    assert "decode" in rows["undecodable.py"]
    assert "klingon" in rows["coding.py"]
    assert "null bytes" in rows["null.py"]
    assert rows.keys() >= {"deep.py", "chain.py"}
    assert not rows.keys() & {"dangling.py", "folder.py", "site-packages/theirs.py", ".hidden/secret.py"}


@pytest.mark.parametrize("workers", [1, 6])
@on_both_backends
def test_so_many_files_are_parsed_at_once_as_there_are_workers(
    workers: int, backend: str, index_code: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Six meet in a barrier, which breaks if one of them does not come; one must never meet another."""
    for number in range(12):
        (tmp_path / f"m{number}.py").touch()
    together = threading.Barrier(workers)
    alone = threading.Semaphore(workers)

    def index_file(path: Path) -> object:
        assert alone.acquire(blocking=False), "more at once than there are workers"
        together.wait(timeout=10)
        alone.release()
        return index_code.Unparsable(path=path, reason="not looked at")

    monkeypatch.setattr(index_code, "index_file", index_file)
    assert index_code.main([str(tmp_path), "--workers", str(workers), "--backend", backend]) == 0


@on_both_backends
def test_a_long_source_is_fed_batch_by_batch_and_each_file_is_parsed_once(
    backend: str, index_code: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: Any
) -> None:
    """More than two batches, and more than a step may have pending."""
    files = 2 * index_code.BATCH + 1
    for number in range(files):
        (tmp_path / f"m{number}.py").write_text(f"x = {number}\n")
    assert index_code.main([str(tmp_path), "--backend", backend]) == 0
    assert table()["modules"] == str(files)


@on_both_backends
def test_a_tree_without_python_ends_with_1(
    backend: str, index_code: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert index_code.main([str(tmp_path), "--backend", backend]) == 1
    assert f"no Python file below {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "nowhere is no folder"),
        ([".", "--workers", "0"], "--workers 0 parses nothing"),
        ([".", "--backend", "curio"], "invalid choice: 'curio'"),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(
    arguments: list[str], complaint: str, index_code: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_:
        index_code.main(arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_trio_it_says_what_to_install(
    index_code: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(index_code, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as exit_:
        index_code.main([".", "--backend", "trio"])
    assert exit_.value.code == 2
    assert "anyio-workflows[trio]" in capsys.readouterr().err


def test_without_rich_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_path(str(PROGRAM), run_name="__main__")
    assert exit_.value.code == 2
    assert "anyio-workflows[cli]" in capsys.readouterr().err


def test_a_keyboard_interrupt_ends_with_130(
    index_code: ModuleType, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index_code, "find_sources", interrupted)
    assert index_code.main([str(tree)]) == 130


def test_it_indexes_the_standard_library(index_code: ModuleType, table: Any) -> None:
    """The real thing, as the README's first command runs it; some distributions leave their own tests out."""
    assert index_code.main([]) == 0
    rows = table()
    assert int(rows["modules"].replace(",", "")) > 300
    assert int(rows["functions"].replace(",", "")) > 5_000
