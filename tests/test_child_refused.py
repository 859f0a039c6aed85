"""Children that cannot go on, or cannot be written down: each a clear error, where it is found (S-CKPT-7)."""

from typing import Any

import anyio
import pytest
from nesting import Answer, Asking, Question, asked
from running import Calling, Echo, Failing

from anyio_workflows import (
    Checkpoint,
    CheckpointError,
    Context,
    Event,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowCheckpointer,
    WorkflowValidationError,
    step,
)


async def test_s_ckpt_7_a_child_that_has_changed_is_refused_where_it_would_go_on() -> None:
    child: Workflow = Asking()
    workflow = Calling(lambda ctx: ctx.run_child(child, who="me"))
    checkpointer = WorkflowCheckpointer(workflow=workflow)

    class Changed(Asking):
        @step
        async def more(self, ev: Question) -> None:
            return None

    with anyio.fail_after(5):
        async with checkpointer.run(run_id="r") as handler:
            await asked(handler, 1)
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        child = Changed()
        with pytest.raises(CheckpointError, match=r"child .* of step 'call' .* has changed since") as caught:
            await checkpointer.run_from(checkpoint)
        assert caught.value.run_id is not None
        async with checkpointer.run_from(checkpoint, allow_changed=True) as handler:
            await asked(handler, 1)
            handler.send_event(Answer(text="yes"))
            assert await handler == "me: yes"
        assert child.begun == ["me"]


async def test_s_ckpt_7_an_event_of_a_child_that_cannot_be_written_is_an_error_at_the_call() -> None:
    class Unwritable(Event):
        value: anyio.Event

    class Child(Workflow):
        @step
        async def first(self, ev: StartEvent) -> Unwritable:
            return Unwritable(value=anyio.Event())

        @step
        async def second(self, ev: Unwritable) -> StopEvent:
            return StopEvent()

    async def body(ctx: Context) -> Any:
        with pytest.raises(WorkflowValidationError, match="Unwritable"):
            await ctx.run_child(Child())
        with pytest.raises(CheckpointError, match="value"):
            await ctx.run_child(Echo(), value=anyio.Event())
        with pytest.raises(CheckpointError, match="value"):
            await ctx.run_child(Echo(), value=anyio.Event(), namespace="named")
        return handler.checkpoint().document["pending"][0].get("children", {})

    with anyio.fail_after(5):
        async with Calling(body).run(checkpoints=True) as handler:
            assert await handler == {}, "what could not begin is not to be gone on with"


async def test_s_fail_1_a_failed_child_that_its_step_lives_on_without_runs_again_after_a_cut() -> None:
    held, failing = anyio.Event(), Failing(extra_events=[])

    class FailsAgain(Workflow):
        ran = 0

        @step
        async def fail(self, ev: StartEvent) -> StopEvent:
            FailsAgain.ran += 1
            raise ValueError("no")

    async def body(ctx: Context) -> Any:
        with pytest.raises(ValueError, match="no"):
            await ctx.run_child(FailsAgain())
        if not held.is_set():
            held.set()
            await anyio.sleep_forever()
        return "after"

    del failing
    checkpointer = WorkflowCheckpointer(workflow=Calling(body))
    with anyio.fail_after(5):
        async with checkpointer.run() as handler:
            await held.wait()
            checkpoint = handler.checkpoint()
            await handler.cancel_run()
        assert await checkpointer.run_from(checkpoint) == "after"
    assert FailsAgain.ran == 2


HOSTILE: list[tuple[str, Any]] = [
    ("children", []),
    ("children", {"=a": 3}),
    ("children", {"=a": {"workflow": "x", "fingerprint": "y"}}),
    ("children", {"=a": {"workflow": 1, "fingerprint": "y", "snapshot": {}}}),
    ("children", {"=a": {"workflow": "x", "fingerprint": "y", "snapshot": {}}}),
    ("children", {"=a": {"workflow": "x", "fingerprint": "y", "snapshot": {}, "more": 1}}),
]


async def cut_in_child(checkpointer: WorkflowCheckpointer) -> Checkpoint:
    async with checkpointer.run() as handler:
        await asked(handler, 1)
        checkpoint = handler.checkpoint()
        await handler.cancel_run()
    return checkpoint


def changed(checkpointer: WorkflowCheckpointer, checkpoint: Checkpoint, change: Any) -> bytes:
    """Return *checkpoint* as JSON, once *change* has had the document of its pending delivery."""
    converter = checkpointer._notation.converter
    document = converter.loads(checkpointer.dumps(checkpoint), where="test")
    change(next(iter(_pending(document))))
    return converter.dumps(document)


def _pending(document: Any) -> Any:
    if isinstance(document, dict):
        if "children" in document:
            yield document
        for value in document.values():
            yield from _pending(value)
    elif isinstance(document, list):
        for value in document:
            yield from _pending(value)


@pytest.mark.parametrize(("member", "value"), HOSTILE, ids=range(len(HOSTILE)))
async def test_s_ckpt_7_hostile_children_are_refused_before_anything_runs(member: str, value: Any) -> None:
    checkpointer = WorkflowCheckpointer(workflow=Calling(lambda ctx: ctx.run_child(Asking(), namespace="a")))
    with anyio.fail_after(5):
        checkpoint = await cut_in_child(checkpointer)
        data = changed(checkpointer, checkpoint, lambda pending: pending.update({member: value}))
        with pytest.raises(CheckpointError):
            checkpointer.run_from(checkpointer.loads(data))


INSIDE: list[Any] = [
    lambda snapshot: snapshot["pending"][0].update(step="nowhere"),
    lambda snapshot: snapshot["pending"][0].update(event={"type": "nothing"}),
    lambda snapshot: snapshot["pending"][0]["waits"]["#1"].update(type="nothing"),
    lambda snapshot: snapshot.update(stop=snapshot["pending"][0]["event"]),
    lambda snapshot: snapshot.update(stop=3),
]


@pytest.mark.parametrize("change", INSIDE, ids=["step", "event", "wait", "stop", "no stop"])
async def test_s_ckpt_7_what_has_no_place_in_the_workflow_of_a_child_is_an_error_of_its_step(
    change: Any,
) -> None:
    """The parent does not know that workflow: the error comes where the child would go on."""
    checkpointer = WorkflowCheckpointer(workflow=Calling(lambda ctx: ctx.run_child(Asking(), namespace="a")))
    with anyio.fail_after(5):
        checkpoint = await cut_in_child(checkpointer)
        data = changed(
            checkpointer, checkpoint, lambda pending: change(pending["children"]["=a"]["snapshot"])
        )
        with pytest.raises(CheckpointError, match="child 'a' of step 'call' cannot go on"):
            await checkpointer.run_from(checkpointer.loads(data))


async def test_s_ckpt_7_children_nested_deeper_than_any_workflow_are_refused() -> None:
    checkpointer = WorkflowCheckpointer(workflow=Calling(lambda ctx: ctx.run_child(Asking(), namespace="a")))

    def nest(pending: dict[str, Any]) -> None:
        child = pending["children"]["=a"]
        for _ in range(400):
            snapshot = {
                **child["snapshot"],
                "pending": [{**child["snapshot"]["pending"][0], "children": {"=a": child}}],
            }
            child = {**child, "snapshot": snapshot}
        pending["children"]["=a"] = child

    with anyio.fail_after(5):
        checkpoint = await cut_in_child(checkpointer)
        with pytest.raises(CheckpointError):
            checkpointer.run_from(checkpointer.loads(changed(checkpointer, checkpoint, nest)))
