"""examples/summarize.py, which maps a model over the passages of files and reduces what comes."""

import re
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import pytest
from example_programs import ROOT, load, on_both_backends

from anyio_workflows.testing import WorkflowTestRunner

LONG = "Rivers carry water to the sea. " * 40
"""A paragraph of 1,240 letters: two of them do not fit into one passage."""


@pytest.fixture
def summarize() -> ModuleType:
    return load("summarize")


def write(path: Path, *paragraphs: str) -> Path:
    path.write_text("\n\n".join(paragraphs))
    return path


def model_of(summarize: ModuleType, *, fails: Any = lambda text: None) -> Any:
    """Return a model that gives the first word of a text, once *fails* has raised nothing."""

    class Model(summarize.RecordedModel):  # type: ignore[name-defined, misc]
        async def summarize(self, text: str) -> str:
            await anyio.lowlevel.checkpoint()
            fails(text)
            return text.split(maxsplit=1)[0]

    return Model()


async def run(summarize: ModuleType, model: Any, *paths: Path) -> Any:
    with anyio.fail_after(5):
        return (await summarize.Summarizer(model).run(paths=paths)).files


async def test_every_file_is_reduced_to_the_summaries_of_its_own_passages_in_their_order(
    summarize: ModuleType, tmp_path: Path
) -> None:
    """The first file is the longer one, so it is done last, and its first passage comes after the others."""
    reduced = []
    refused = set()

    def notes(text: str) -> None:
        if len(text) < 100:
            reduced.append(text)
        elif text.startswith("One") and text not in refused:
            refused.add(text)
            raise summarize.RateLimitError

    first = write(tmp_path / "first.md", *(f"{word} {LONG}" for word in ("One", "two", "three")))
    second = write(tmp_path / "second.md", f"Other {LONG}")
    files = await run(summarize, model_of(summarize, fails=notes), first, second)
    assert [(file.path, file.summary, file.passages, file.gaps) for file in files] == [
        (first, "One", 3, 0),
        (second, "Other", 1, 0),
    ]
    assert sorted(reduced) == ["One two three", "Other"]


async def test_a_request_that_is_refused_is_made_again_and_changes_nothing(
    summarize: ModuleType, tmp_path: Path
) -> None:
    """Three times each, the request for the reduced summary too."""
    refused: dict[str, int] = {}

    def refuses(text: str) -> None:
        refused[text] = refused.get(text, 0) + 1
        if refused[text] <= 3:
            raise summarize.RateLimitError

    path = write(tmp_path / "a.md", f"One {LONG}", f"two {LONG}")
    (file,) = await run(summarize, model_of(summarize, fails=refuses), path)
    assert (file.summary, file.passages, file.gaps) == ("One", 2, 0)
    assert list(refused.values()) == [4, 4, 4]


async def test_a_passage_that_is_refused_for_good_is_a_gap(summarize: ModuleType, tmp_path: Path) -> None:
    def refuses(text: str) -> None:
        if text.startswith("two"):
            raise summarize.RateLimitError

    gap = write(tmp_path / "gap.md", f"One {LONG}", f"two {LONG}", f"three {LONG}")
    none = write(tmp_path / "none.md", f"two {LONG}")
    files = await run(summarize, model_of(summarize, fails=refuses), gap, none)
    assert [(file.summary, file.passages, file.gaps) for file in files] == [
        ("One", 3, 1),
        ("not summarized", 1, 1),
    ]


async def test_what_is_no_rate_limit_fails_the_run_at_once(summarize: ModuleType, tmp_path: Path) -> None:
    """A retry does not help, and a mistake of the program should not look like a gap."""
    calls = []

    def fails(text: str) -> None:
        calls.append(text)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await run(summarize, model_of(summarize, fails=fails), write(tmp_path / "a.md", "One."))
    assert len(calls) == 1


async def test_a_file_that_cannot_be_read_or_has_no_text_is_a_remark(
    summarize: ModuleType, tmp_path: Path
) -> None:
    missing = tmp_path / "missing.md"
    (binary := tmp_path / "binary").write_bytes(b"\xff")
    empty = write(tmp_path / "empty.md", "# Only a heading", "```text\ncode\n```")
    files = await run(
        summarize, model_of(summarize), missing, binary, empty, write(tmp_path / "a.md", "One.")
    )
    assert [(file.summary.split(":")[0], file.is_read) for file in files] == [
        ("not read", False),
        ("not read", False),
        ("there is no text in it", True),
        ("One.", True),
    ]
    assert files[0].summary == "not read: No such file or directory"
    assert "decode" in files[1].summary


async def test_no_files_are_summarized_to_nothing(summarize: ModuleType) -> None:
    assert await run(summarize, model_of(summarize)) == ()


@pytest.mark.parametrize("workers", [1, 5])
@on_both_backends
def test_so_many_passages_are_summarized_at_once_as_there_are_workers(
    workers: int, backend: str, summarize: ModuleType, tmp_path: Path
) -> None:
    """As many meet as there are workers; those who wait do so in vain if one does not come."""
    at_once, most = 0, 0
    path = write(tmp_path / "a.md", *(f"{number} {LONG}" for number in range(2 * workers)))

    class Model(summarize.RecordedModel):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            self.met = anyio.Event()

        async def summarize(self, text: str) -> str:
            nonlocal at_once, most
            at_once += 1
            most = max(at_once, most)
            if at_once == workers:
                self.met.set()
            await self.met.wait()
            await anyio.lowlevel.checkpoint()
            at_once -= 1
            return text[:1]

    async def main() -> None:
        with anyio.fail_after(5):
            result = await summarize.summarize_files([path], Model(), workers, None)
        assert result.files[0].passages == 2 * workers

    anyio.run(main, backend=backend)
    assert most == workers


async def test_the_recorded_model_refuses_the_same_texts_once_whatever_their_order(
    summarize: ModuleType,
) -> None:
    """Else the output would not be the same each time."""
    texts = [f"Text {number}." for number in range(50)]

    async def refused_by(model: Any, asked: list[str]) -> set[str]:
        refused = set()
        for text in asked:
            try:
                assert await model.summarize(text) == text
            except summarize.RateLimitError:
                refused.add(text)
        return refused

    one, other = summarize.RecordedModel(), summarize.RecordedModel()
    refused = await refused_by(one, texts)
    assert 1 < len(refused) < 25
    assert refused == await refused_by(other, texts[::-1])
    assert await refused_by(one, texts) == set()


async def test_the_recorded_model_gives_a_sentence_of_the_text(summarize: ModuleType) -> None:
    model = summarize.RecordedModel(refuses_every=10**12)
    text = "It rains.\n\n- Rivers carry water.\n- The water of all rivers ends in other water. So it\ngoes."
    assert await model.summarize(text) == "The water of all rivers ends in other water."
    assert await model.summarize("two\n  lines") == "two lines"
    assert await model.summarize(f"{'long ' * 100}end.") == f"{'long ' * 34}long [...]"


def test_code_tables_and_headings_are_no_text(summarize: ModuleType) -> None:
    text = "# A\n\none\n\n```python\nno\n\nno\n```\n\n| no |\n| -- |\n\ntwo\n"
    assert summarize.passages_of(text) == ["one\n\ntwo"]
    assert summarize.passages_of(f"{LONG}\n\n{LONG}") == [LONG.strip()] * 2


@on_both_backends
def test_it_summarizes_this_documentation_and_says_the_same_each_time(
    backend: str, summarize: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a real tree: every page is there, and nothing is left out although requests are refused."""
    assert summarize.main(["--backend", backend]) == 0
    first = capsys.readouterr().out
    assert summarize.main(["--backend", backend, "--workers", "1"]) == 0
    assert capsys.readouterr().out == first
    pages = [ROOT / "README.md", *sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md")])]
    shown = re.findall(r"^(\S+) \(passages: \d+\)$", first, re.MULTILINE)
    assert shown == [page.relative_to(ROOT).as_posix() for page in pages]
    assert re.search(rf"\n\nfiles: {len(pages)}, passages: \d\d+\n$", first)


async def test_requests_are_refused_in_this_documentation(summarize: ModuleType) -> None:
    """What the example is there to show must happen in it."""
    result = await WorkflowTestRunner(summarize.Summarizer(summarize.RecordedModel())).run(
        summarize.SummarizeFiles(paths=tuple(sorted(ROOT.glob("docs/*.md"))))
    )
    runs = [event for event in result.collected if getattr(event, "name", None) == "summarize"]
    passages = sum(file.passages for file in result.result.files)
    assert len(runs) > 2 * passages, "each is told of when it begins and when it ends"


@on_both_backends
def test_a_file_that_cannot_be_read_ends_it_with_1_and_the_trace_shows_what_was_done(
    backend: str, summarize: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    path = write(tmp_path / "a.md", "Rivers carry water to the sea.")
    missing = tmp_path / "missing.md"
    code = summarize.main([str(path), str(missing), "--trace", str(page), "--backend", backend])
    assert code == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path} (passages: 1)",
        "  Rivers carry water to the sea.",
        f"{missing} (passages: 0)",
        "  not read: No such file or directory",
        "",
        "files: 2, passages: 1",
    ]
    html = page.read_text()
    assert html.startswith("<!DOCTYPE html>")
    assert all(step in html for step in ("split", "not_read", "summarize", "reduce", "FileNotFoundError"))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--workers", "0"], "--workers 0 summarizes nothing; give 1 or more"),
        (["--backend", "curio"], "invalid choice: 'curio'"),
        (
            ["LICENSE", "--trace", "nowhere/page.html"],
            "--trace nowhere/page.html: there is no folder nowhere",
        ),
    ],
)
def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(
    arguments: list[str],
    complaint: str,
    summarize: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as exit_:
        summarize.main(arguments)
    assert exit_.value.code == 2
    assert complaint in capsys.readouterr().err


def test_without_trio_it_says_what_to_install(
    summarize: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(summarize, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as exit_:
        summarize.main(["--backend", "trio"])
    assert exit_.value.code == 2
    assert "anyio-workflows[trio]" in capsys.readouterr().err


@on_both_backends
def test_files_are_read_on_threads(
    backend: str, summarize: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four meet in a barrier, which breaks if one of them does not come."""
    together = threading.Barrier(4)

    def passages_of(text: str) -> list[str]:
        together.wait(timeout=10)
        return []

    monkeypatch.setattr(summarize, "passages_of", passages_of)
    paths = [str(write(tmp_path / f"{number}.md", "text")) for number in range(4)]
    assert summarize.main([*paths, "--backend", backend]) == 0
