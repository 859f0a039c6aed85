"""Two models are asked, and the answer that comes first is shown: unless both find that none was shown yet."""

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration


class Ask(Event):
    model: str


class Shown(Event):
    answer: str


class Finished(Event): ...


class Broken(Workflow):
    @step
    async def ask_all(self, ctx: Context, ev: StartEvent) -> Ask | None:
        for model in ("small", "large"):
            ctx.send_event(Ask(model=model))
        return None

    async def is_first(self, ctx: Context, model: str) -> bool:
        if await ctx.store.get("winner", None) is not None:
            return False
        await ctx.store.set("winner", model)
        return True

    @step
    async def answer(self, ctx: Context, ev: Ask) -> Finished:
        if await self.is_first(ctx, ev.model):
            ctx.write_event_to_stream(Shown(answer=f"by the {ev.model} one"))
        return Finished()

    @step
    async def end(self, ctx: Context, ev: Finished) -> StopEvent | None:
        done = ctx.collect_events(ev, [Finished] * 2)
        return None if done is None else StopEvent(result=await ctx.store.get("winner"))


class Fixed(Broken):
    async def is_first(self, ctx: Context, model: str) -> bool:
        async with ctx.store.edit_state() as state:
            return bool(state.setdefault("winner", model) == model)


def invariant(seen: Exploration) -> None:
    shown = [event.answer for event in seen.events if isinstance(event, Shown)]
    assert len(shown) == 1, f"the user is shown {shown}"
