"""Summarize text files: split each into passages, summarize every passage, and reduce what comes to a line per file.

Two fan-outs, one inside the other: of the files, and of the passages of each file. A join puts the summaries of a
file together as soon as the file is done, whatever the others are at, and another one the files. The model refuses
some requests, as those behind a rate limit do; a retry policy asks again later, and meanwhile the worker has other
passages. What cannot be read, or is refused again and again, is a remark in the result.

The model picks a sentence of the text instead of writing one, so that it needs neither a network nor a key, and
says the same each time.

Run it with ``python examples/summarize.py [file ...] [--workers 4] [--trace page.html] [--backend trio]``; without
files it reads the documentation of this project. It ends with 0, with 1 if a file could not be read, with 2 if it was
called wrongly. With ``--trace`` it draws when each step was at what.
"""

import argparse
import re
import sys
import zlib
from collections import Counter
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent, shorten, wrap
from typing import Annotated, Any

import anyio
from tenacity import retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from anyio_workflows import (
    Collect,
    Event,
    RetryPolicy,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    step,
)
from anyio_workflows.trace import TraceRecorder

ROOT = Path(__file__).parent.parent

LENGTH_OF_PASSAGE = 1500
"""Length of a passage, unless a single paragraph is longer."""

LENGTH_OF_SUMMARY = 180
"""Most letters of a sentence; of a longer one the beginning is taken."""


# --- The model


class RateLimitError(Exception):
    """The model has too much to do; it may be asked again later."""


class RecordedModel:
    """Picks the sentence whose words are the most frequent ones of the text."""

    def __init__(self, refuses_every: int = 5) -> None:
        self._refuses_every = refuses_every
        self._refused: set[str] = set()

    async def summarize(self, text: str) -> str:
        """Return one sentence of *text*; about one text of five is refused when it comes for the first time."""
        await anyio.sleep(0.001)  # here a real model would be waited for
        # By the text, not by the number of the request, which differs with the order in which they come.
        if not zlib.crc32(text.encode()) % self._refuses_every and text not in self._refused:
            self._refused.add(text)
            raise RateLimitError("too many requests")
        sentences = [
            " ".join(sentence.split())
            for sentence in re.split(r"(?<=[.!?])\s+|^- ", text, flags=re.MULTILINE)
        ]
        known = Counter(_long_words(text))
        return shorten(max(sentences, key=lambda sentence: _weight(sentence, known)), LENGTH_OF_SUMMARY)


def _long_words(text: str) -> list[str]:
    return re.findall(r"[a-z]{4,}", text.lower())


def _weight(sentence: str, known: Counter[str]) -> float:
    words = _long_words(sentence)
    return sum(known[word] for word in words) / (len(words) + 5)  # a sentence of two words is no summary


# --- The text


def passages_of(text: str) -> list[str]:
    """Split *text* between paragraphs; code, tables and headings are left out."""
    prose = re.sub(r"^(```|:::).*?^\1|^[ \t]*[#|<].*?$", "", text, flags=re.DOTALL | re.MULTILINE)
    passages: list[str] = []
    for paragraph in filter(None, map(str.strip, re.split(r"\n\s*\n", prose))):
        if passages and len(passages[-1]) + len(paragraph) <= LENGTH_OF_PASSAGE:
            passages[-1] += f"\n\n{paragraph}"
        else:
            passages.append(paragraph)
    return passages


# --- The workflow


class SummarizeFiles(StartEvent):
    paths: tuple[Path, ...]


class FileNamed(Event):
    path: Path


class PassageRead(Event):
    path: Path
    text: str


class PassageSummarized(Event):
    path: Path
    summary: str | None
    """None if the model has given none."""


class FileSummarized(Event):
    path: Path
    summary: str
    passages: int = 0
    gaps: int = 0
    """How many of the passages the model has not summarized."""
    is_read: bool = True


class AllSummarized(StopEvent):
    files: tuple[FileSummarized, ...]


patiently = RetryPolicy(
    retry=retry_if_exception_type(RateLimitError),
    wait=wait_exponential(multiplier=0.01) + wait_random(0, 0.01),
    stop=stop_after_attempt(4),
)


class Summarizer(Workflow):
    """Files to passages to summaries, and back."""

    def __init__(self, model: RecordedModel, **options: Any) -> None:
        super().__init__(**options)
        self.model = model

    @step
    async def begin(self, ev: SummarizeFiles) -> list[FileNamed]:
        return [FileNamed(path=path) for path in ev.paths]

    @step
    def split(self, ev: FileNamed) -> list[PassageRead] | FileSummarized:
        passages = passages_of(ev.path.read_text(encoding="utf-8"))
        if not passages:  # an empty list would be joined as well, but by then nobody knows of which file
            return FileSummarized(path=ev.path, summary="there is no text in it")
        return [PassageRead(path=ev.path, text=text) for text in passages]

    @catch_error(for_steps=["split"])
    async def not_read(self, ev: StepFailedEvent) -> FileSummarized:
        assert isinstance(ev.input_event, FileNamed)
        error = ev.exception
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return FileSummarized(path=ev.input_event.path, summary=f"not read: {reason}", is_read=False)

    @step(retry_policy=patiently)
    async def summarize(self, ev: PassageRead) -> PassageSummarized:
        return PassageSummarized(path=ev.path, summary=await self.model.summarize(ev.text))

    @catch_error(for_steps=["summarize"])
    async def leave_out(self, ev: StepFailedEvent) -> PassageSummarized:
        if not isinstance(ev.exception, RateLimitError):
            raise ev.exception
        assert isinstance(ev.input_event, PassageRead)
        return PassageSummarized(path=ev.input_event.path, summary=None)

    @step(retry_policy=patiently)
    async def reduce(
        self, evs: Annotated[list[PassageSummarized], Collect(order="emission")]
    ) -> FileSummarized:
        found = [ev.summary for ev in evs if ev.summary is not None]
        summary = await self.model.summarize(" ".join(found)) if found else "not summarized"
        return FileSummarized(
            path=evs[0].path, summary=summary, passages=len(evs), gaps=len(evs) - len(found)
        )

    @step
    async def end(self, evs: Annotated[list[FileSummarized], Collect(order="emission")]) -> AllSummarized:
        return AllSummarized(files=tuple(evs))


async def summarize_files(
    paths: Sequence[Path], model: RecordedModel, workers: int, trace: Path | None
) -> AllSummarized:
    """Summarize the files at *paths*, *workers* passages at once."""
    recorder = TraceRecorder()
    observers = [recorder] if trace is not None else []
    async with Summarizer(model).run(paths=tuple(paths), observers=observers) as handler:
        handler.limiter("summarize").total_tokens = workers
    result: AllSummarized = await handler
    if trace is not None:
        await anyio.Path(trace).write_text(recorder.to_html(), encoding="utf-8")
    return result


# --- The command line


def print_report(result: AllSummarized) -> None:
    """Print a paragraph for each file."""
    for file in result.files:
        path = file.path.relative_to(ROOT) if file.path.is_relative_to(ROOT) else file.path
        gaps = f", {file.gaps} left out" if file.gaps else ""
        print(f"{path.as_posix()} (passages: {file.passages}{gaps})")
        print(indent("\n".join(wrap(file.summary, 96)), "  "))
    print(f"\nfiles: {len(result.files)}, passages: {sum(file.passages for file in result.files)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Summarize the files that *arguments* name, and return the exit code."""
    parser = argparse.ArgumentParser(description="Summarize text files.")
    parser.add_argument("paths", nargs="*", type=Path, metavar="file", help="default: this documentation")
    parser.add_argument("--workers", type=int, default=4, help="passages at once; default: %(default)s")
    parser.add_argument(
        "--trace", type=Path, metavar="FILE", help="where to draw what was done when, as HTML"
    )
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers} summarizes nothing; give 1 or more")
    if options.trace is not None and not options.trace.parent.is_dir():
        parser.error(f"--trace {options.trace}: there is no folder {options.trace.parent}")
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("trio is not installed; install it: pip install 'anyio-workflows[trio]'")
    paths = options.paths or [
        ROOT / "README.md",
        *sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("docs/how-to/*.md")]),
    ]
    try:
        result = anyio.run(
            summarize_files, paths, RecordedModel(), options.workers, options.trace, backend=options.backend
        )
    except KeyboardInterrupt:
        return 130
    print_report(result)
    return 0 if all(file.is_read for file in result.files) else 1


if __name__ == "__main__":
    sys.exit(main())
