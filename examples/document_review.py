"""Have a model draft a document and a person review it, round after round, until the person is content.

A question to a person may stay open for days, so it stands between two steps, where nothing of the run is held but
the run itself. With ``--store runs.db`` not even that: kill the program whenever you like, and start it again. What
the model has written and what you have answered is in the store, and you are asked what was open.

The model is a recording: it knows what to do with a few remarks, and needs neither a network nor a key.

Run it with ``python examples/document_review.py [--answers FILE] [--store runs.db] [--backend trio]``. The answers are
lines, one for each draft: ``ok``, or what is to be changed. By default they are recorded ones; ``--answers -`` asks
you. It ends with 0, with 1 if no draft was good enough, with 2 if it was called wrongly, and with 3 if there is no
answer yet: with a store, the run waits there for it.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import anyio
import anyio.to_thread
import attrs

from anyio_workflows import (
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
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

MOST_DRAFTS = 4

RECORDED_ANSWERS = ("Shorter, please.", "Say when it happens.", "ok")


# --- The model


FIRST_DRAFT = (
    "Dear all, as some of you may have noticed, our web site has not always been as quick as we would like it to "
    "be. We are therefore going to move it to a new server, and it will be away meanwhile."
)
REVISIONS = {
    "shorter": "Dear all, we move our web site to a new server. It will be away meanwhile.",
    "when": "Dear all, we move our web site to a new server on Monday. It will be away from 6 to 7 in the morning.",
}


class RecordedModel:
    """Writes what a model once wrote about the same remark."""

    async def write(self) -> str:
        """Return a first draft."""
        await anyio.sleep(0.01)  # here, and below, a real model would be waited for
        return FIRST_DRAFT

    async def revise(self, text: str, remark: str) -> str:
        """Return *text* as *remark* wants it, if that was recorded."""
        await anyio.sleep(0.01)
        known = (revised for word, revised in REVISIONS.items() if word in remark.lower())
        return next(known, f"{text} [Nothing is recorded about the remark {remark!r}.]")


# --- The workflow


class ReviewBegun(StartEvent):
    pass


class Drafted(Event):
    text: str


class ReviewRequired(InputRequiredEvent):
    draft: int
    text: str


class Reviewed(HumanResponseEvent):
    remark: str


class RevisionWanted(Event):
    remark: str


class ReviewEnded(StopEvent):
    text: str
    drafts: int
    is_approved: bool


@attrs.define
class Document:
    """What has been written, and what was said about it."""

    drafts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class DocumentReview(Workflow):
    """Draft, ask, revise, ask again."""

    def __init__(self, model: RecordedModel) -> None:
        super().__init__()
        self.model = model

    @step
    async def draft(self, ev: ReviewBegun) -> Drafted:
        return Drafted(text=await self.model.write())

    @step
    async def ask(self, ctx: Context[Document], ev: Drafted) -> ReviewRequired:
        async with ctx.store.edit_state() as document:
            document.drafts += (ev.text,)
        return ReviewRequired(draft=len(document.drafts), text=ev.text)

    @step
    async def decide(self, ctx: Context[Document], ev: Reviewed) -> RevisionWanted | ReviewEnded:
        document = await ctx.store.get_state()
        drafts, text = len(document.drafts), document.drafts[-1]
        if ev.remark.lower().strip(" .!") == "ok":
            return ReviewEnded(text=text, drafts=drafts, is_approved=True)
        if drafts == MOST_DRAFTS:
            return ReviewEnded(text=text, drafts=drafts, is_approved=False)
        return RevisionWanted(remark=ev.remark)

    @step
    async def revise(self, ctx: Context[Document], ev: RevisionWanted) -> Drafted:
        async with ctx.store.edit_state() as document:
            document.remarks += (ev.remark,)
        return Drafted(text=await self.model.revise(document.drafts[-1], ev.remark))


# --- The person

Answers = Callable[[int], str | None]
"""Gives the answer to a draft, by its number, or None if there is none yet; it may block."""


class NoAnswerError(Exception):
    """There is no answer yet."""


def from_lines(lines: Sequence[str]) -> Answers:
    """Answer with the line of the same number, so that a program which is started again does not begin anew."""
    return lambda draft: lines[draft - 1].strip() or None if draft <= len(lines) else None


def from_terminal(draft: int) -> str | None:
    """Answer with what a person types."""
    with suppress(EOFError):
        while True:
            if remark := input(f"Is draft {draft} ok? Or what is to be changed? ").strip():
                return remark
    return None


async def follow(handler: WorkflowHandler, answers: Answers) -> ReviewEnded:
    """Run *handler* to its end, and show every draft to a person."""
    async with handler:
        async for event in handler.stream_events():
            if isinstance(event, ReviewRequired):
                print(f"Draft {event.draft}: {event.text}")
                remark = await anyio.to_thread.run_sync(answers, event.draft, abandon_on_cancel=True)
                if (
                    remark is None
                ):  # leaving the block without an error would wait for the run, which waits for this
                    raise NoAnswerError(f"draft {event.draft} waits for its review")
                print(f"> {remark}\n", flush=True)
                handler.send_event(Reviewed(remark=remark))
    ended: ReviewEnded = await handler
    return ended


async def review(model: RecordedModel, answers: Answers, store: Path | None, run_id: str) -> ReviewEnded:
    """Have a document reviewed; with a *store*, the run of that id goes on, if there is one, and else begins."""
    workflow = DocumentReview(model)
    if store is None:
        return await follow(workflow.run(), answers)
    async with SqliteCheckpointStore(store) as runs:
        # An answer is in the store before anything is made of it: people are not asked twice.
        checkpointer = WorkflowCheckpointer(workflow=workflow, store=runs, durability="sync")
        try:
            handler = await checkpointer.resume(run_id)
        except UnknownRunError:
            handler = checkpointer.run(run_id=run_id)
        return await follow(handler, answers)


# --- The command line


def main(arguments: Sequence[str] | None = None) -> int:
    """Hold the review that *arguments* describe, and return the exit code."""
    options = _parse(arguments)
    try:
        ended = anyio.run(
            review, RecordedModel(), options.answers, options.store, options.run_id, backend=options.backend
        )
    except KeyboardInterrupt:
        return 130
    except NoAnswerError as error:
        print(
            f"{error}; {'start it again to give it' if options.store else 'the run is lost'}", file=sys.stderr
        )
        return 3
    except WorkflowError as error:  # of the store
        print(error, file=sys.stderr)
        return 2
    how = "approved" if ended.is_approved else "not approved"
    print(f"Draft {ended.drafts} was {how}: {ended.text}")
    return 0 if ended.is_approved else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Have a document reviewed.")
    parser.add_argument("--answers", metavar="FILE", help="a line for each draft; - asks at the terminal")
    parser.add_argument("--store", type=Path, metavar="FILE", help="where the run is kept, to go on from")
    parser.add_argument("--run-id", default="review", help="which run of the store; default: %(default)s")
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("trio is not installed; install it: pip install 'anyio-workflows[trio]'")
    if options.answers == "-":
        options.answers = from_terminal
        return options
    lines: Sequence[str] = RECORDED_ANSWERS
    if options.answers:
        try:
            lines = Path(options.answers).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            parser.error(f"--answers {options.answers}: {error}")
    options.answers = from_lines(lines)
    return options


if __name__ == "__main__":
    exit_code = main()
    sys.stdout.flush()
    # After Ctrl-C, a thread that waits for a line at the terminal would keep the program until the line comes.
    os._exit(exit_code)
