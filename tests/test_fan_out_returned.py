"""What a step returns against its annotation, and what comes to a join from elsewhere."""

from typing import Any

import anyio
import pytest
from durable import settled
from fanning import Done, Extra, Fan, Gates, Item

from anyio_workflows import (
    Context,
    StartEvent,
    StopEvent,
    UnhandledEvent,
    Workflow,
    WorkflowRuntimeError,
    step,
)


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (
            Item(n=1),
            "returned Item(n=1) alone, but its return annotation has it in a list only; return a list of",
        ),
        ([Done(n=1)], "returned a list with Done(n=1), but its return annotation says list[Item]"),
        ([None], "returned a list with None, but its return annotation says list[Item]"),
        ([Item(n=1), "x"], "returned a list with 'x', but its return annotation says list[Item]"),
        ((Item(n=1),), "which is no event"),
    ],
    ids=repr,
)
async def test_fan_out_what_is_returned_against_the_annotation_is_an_error(output: Any, said: str) -> None:
    class Flow(Workflow):
        @step
        async def split(self, ev: StartEvent) -> list[Item] | Extra:
            return output  # type: ignore[no-any-return]

        @step
        async def join(self, evs: list[Item]) -> StopEvent: ...  # type: ignore[empty-body]

        @step
        async def take(self, ev: Extra) -> Done: ...  # type: ignore[empty-body]

        @step
        async def end(self, ev: Done) -> StopEvent: ...  # type: ignore[empty-body]

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError) as caught:
        await Flow().run()
    assert said in str(caught.value)


async def test_fan_out_a_list_that_no_annotation_has_is_an_error() -> None:
    class Flow(Fan):
        @step
        async def split(self, ev: StartEvent) -> list[Item]:
            return [Item(n=0)]

        @step
        async def work(self, ctx: Context, ev: Item) -> Done:
            return [Done(n=0)]  # type: ignore[return-value]  # the mistake

    with anyio.fail_after(5), pytest.raises(WorkflowRuntimeError, match="returned a list, but its return"):
        await Flow().run()


async def test_fan_out_a_subclass_of_what_is_annotated_may_be_listed() -> None:
    class Special(Item):
        pass

    class Flow(Fan):
        @step
        async def split(self, ev: StartEvent) -> list[Item]:
            return [Special(n=4)]

        @step(accept_event_subclasses=True)
        async def work(self, ctx: Context, ev: Item) -> Done:
            return Done(n=ev.n)

    with anyio.fail_after(5):
        assert await Flow().run() == [4]


async def test_fan_out_an_event_outside_of_any_fan_out_is_handled_by_no_join() -> None:
    handler = Fan(Gates().member).run()
    with anyio.fail_after(5):
        async with handler:
            await settled()
            handler.send_event(Done(n=99))
            with pytest.raises(
                WorkflowRuntimeError, match="which joins what has come of a fan-out, and this has"
            ):
                handler.send_event(Done(n=99), step="join")
            await handler.cancel_run()
    events = [event async for event in handler.stream_events(expose_internal=True)]
    (unhandled,) = [event for event in events if isinstance(event, UnhandledEvent)]
    assert (unhandled.event_type, unhandled.step_name) == ("Done", "join")
