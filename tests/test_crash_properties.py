"""Crash anywhere, resume, and the result is the same: random workflows on a store that dies with its program.

What must come out is worked out by the sequential interpreter of the programs, which knows of no engine. What had
happened by the crash is told by the store alone, as after a real one; `test_real_crashes` has those.
"""

import json
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from typing import Any, Literal

import anyio
import attrs
from anyio.lowlevel import checkpoint
from hypothesis import event as classify
from hypothesis import given, settings
from hypothesis import strategies as st
from resumable_workflows import Course, Oracle, Resumable, make_workflow, tidied
from test_resume_properties import both_backends, check_commits, check_end, run_on, stumbling, wanted

from anyio_workflows import (
    Context,
    Event,
    StoreError,
    UnknownRunError,
    WorkflowCheckpointer,
    WorkflowHandler,
    WorkflowRuntimeError,
)
from anyio_workflows.abc import Record, RunInfo
from anyio_workflows.stores import MemoryCheckpointStore
from anyio_workflows.testing.programs import Program, programs

ID = "r"


@attrs.frozen
class Crash:
    """When the program dies, and what becomes of the save that it dies in."""

    call: int
    """In this call of `create` or `save`, counted from 0; of a run that needs fewer, nothing dies."""
    how: Literal["lost", "unanswered", "cancelled"]
    """Not written; written, and nobody has heard; or the run is only cancelled, and its last save is made."""


class MortalStore(MemoryCheckpointStore):
    """Dies with the program that uses it: what was written by then is there afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self._crash: Crash | None = None
        self._scope: anyio.CancelScope | None = None
        self._calls = 0
        self._is_dead = False

    def prepare(self, crash: Crash | None, scope: anyio.CancelScope) -> None:
        """Begin a new life, for the program in *scope*."""
        self._crash, self._scope, self._calls, self._is_dead = crash, scope, 0, False

    async def create(self, run: RunInfo, records: Sequence[Record]) -> int:
        create = super().create
        epoch: int = await self._write(lambda: create(run, records))
        return epoch

    async def save(self, run_id: str, epoch: int, records: Sequence[Record], **how: Any) -> None:
        save = super().save
        await self._write(lambda: save(run_id, epoch, records, **how))

    async def _write(self, write: Callable[[], Awaitable[Any]]) -> Any:
        if self._is_dead:  # the engine tries to save the end, which no dead program does
            raise StoreError("mortal", "is dead")
        number, self._calls = self._calls, self._calls + 1
        if self._crash is None or number != self._crash.call:
            return await write()
        classify(f"crash: {self._crash.how}")
        assert self._scope is not None, "a program runs"
        self._scope.cancel()
        if self._crash.how == "cancelled":
            return await write()
        if self._crash.how == "unanswered":
            await write()
        self._is_dead = True
        await checkpoint()  # never comes back, except under the shield of the last save
        raise StoreError("mortal", "has died")


class Lives:
    """One run over the lives of several programs."""

    def __init__(
        self, program: Program, durability: Literal["sync", "async", "exit"], stumbles: float, seed: int
    ) -> None:
        self.program = program
        self.stumbles = stumbles
        self.oracle = Oracle(program)
        self.durability = durability
        self.chance = random.Random(seed)
        self.store = MortalStore()
        self.numbers = count()
        self.begun: list[str] = []
        """Idempotency keys of the executions that have begun, over all lives."""

    def workflow(self, *, ends: bool) -> Resumable:
        """Return the workflow as a new program has it."""
        workflow = make_workflow(self.program, **wanted(self.oracle, ends=ends), stumbles=self.stumbles)
        workflow.chance = self.chance
        act = workflow.act

        async def noted_act(index: int, ctx: Context, event: Any) -> Event | None:
            self.begun.append(ctx.idempotency_key)
            return await act(index, ctx, event)

        workflow.act = noted_act  # type: ignore[method-assign]
        return workflow

    async def live(self, crash: Crash | None, *, ends: bool) -> Course | None:
        """Start the run, or take it up, until it ends or the program dies; then return nothing."""
        workflow = self.workflow(ends=ends)
        checkpointer = WorkflowCheckpointer(workflow=workflow, store=self.store, durability=self.durability)
        with anyio.CancelScope() as scope:
            self.store.prepare(None, scope)
            committed = await self.committed()
            handler = await self.taken_up(checkpointer)
            self.store.prepare(crash, scope)
            already_begun = len(self.begun)
            course = Course(handler, self.numbers)
            try:
                await course.go(workflow)
            except WorkflowRuntimeError:  # an answer came a moment too late
                if not scope.cancel_called:
                    raise
        assert committed.isdisjoint(self.begun[already_begun:]), "what is committed is not executed again"
        return None if scope.cancel_called else course

    async def taken_up(self, checkpointer: WorkflowCheckpointer) -> WorkflowHandler:
        """Return the run to go on with."""
        try:
            info = await self.store.run(ID)
        except UnknownRunError:
            return checkpointer.run(run_id=ID, fuel=self.program.fuel)
        if info.status == "failed":  # it has stalled, and the program died before it could say so
            return checkpointer.run_from((await checkpointer.history(ID, cuts=True))[-1])
        return await checkpointer.resume(ID)

    async def committed(self) -> set[str]:
        """Return the keys of all executions that the store knows to have committed."""
        committed: set[str] = set()
        pending: dict[int, str] = {}
        for record in await self.store.history(ID) if await self.store.runs() else ():
            document = json.loads(record.payload)
            if record.kind == "full":
                left = {entry["number"]: entry["key"] for entry in document["snapshot"]["pending"]}
                committed.update(key for number, key in pending.items() if number not in left)
                pending = left
                continue
            for name, *details in document["operations"]:
                if name == "deliver":
                    pending[details[0]] = details[-1]
                elif name == "commit":
                    committed.add(pending.pop(details[0]))
        return committed

    async def commits(self) -> Counter[tuple[str, str, int]]:
        """Count what the store says was committed, in all lives together."""
        payloads = [
            (record.step, json.loads(record.payload)["input"]) for record in await self.store.history(ID)
        ]
        return Counter(
            (step, event["type"], event.get("fuel", -1)) for step, event in payloads if step is not None
        )


crashes = st.builds(
    Crash, st.integers(0, 12) | st.integers(0, 60), st.sampled_from(["lost", "unanswered", "cancelled"])
)


@both_backends
@settings(max_examples=150)
@given(
    durability=st.sampled_from(["sync", "async", "exit"]),
    program=programs().map(tidied),
    planned=st.lists(crashes, min_size=1, max_size=3),
    ends=st.booleans(),
    stumbles=stumbling,
    seed=st.integers(0, 1_000),
)
def test_s_ckpt_5_a_run_whose_program_dies_comes_to_the_same_when_it_is_resumed(
    *,
    backend: str,
    durability: Literal["sync", "async", "exit"],
    program: Program,
    planned: list[Crash],
    ends: bool,
    stumbles: float,
    seed: int,
) -> None:
    """In the middle of any save, written or not, and again while it goes on: nothing is lost and nothing done twice."""
    lives = Lives(program, durability, stumbles, seed)

    async def main() -> None:
        course = None
        for crash in [*planned, None]:
            course = await lives.live(crash, ends=ends)
            if course is not None:
                break
        assert course is not None, "the last program does not die"
        classify("stalled" if course.error else "completed")
        check_end(course, lives.oracle)
        if durability != "exit":  # whose records are of many commits each
            check_commits(await lives.commits(), course, lives.oracle)

    run_on(backend, seed, main)
