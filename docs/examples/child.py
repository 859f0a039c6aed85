import anyio

from anyio_workflows import (
    ChildEvent,
    Context,
    Event,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class Draft(StartEvent):
    text: str


class Read(Event):
    words: int


class Objections(InputRequiredEvent):
    text: str


class Verdict(HumanResponseEvent):
    is_good: bool


class Review(Workflow[bool]):
    @step(waits_for=Verdict)
    async def review(self, ctx: Context, ev: Draft) -> StopEvent:
        ctx.write_event_to_stream(Read(words=len(ev.text.split())))
        verdict = await ctx.wait_for_event(Verdict, waiter_event=Objections(text=ev.text))
        return StopEvent(result=verdict.is_good)


class Publish(Workflow[list[str]]):
    @step
    async def publish(self, ctx: Context, ev: StartEvent) -> StopEvent:
        review = Review(extra_events=[Objections])
        return StopEvent(result=[text for text in ev.drafts if await ctx.run_child(review, text=text)])


async def main() -> None:
    async with Publish().run(drafts=["the cat sat", "dogs bark"]) as handler:
        async for event in handler.stream_events():
            match event:
                case ChildEvent(namespace=names, event=Read(words=words)):
                    print(f"{names[0]}: {words} words")
                case Objections(text=text):
                    print(f"objections to {text!r}?")
                    handler.send_event(Verdict(is_good="bark" not in text))
    print("published", await handler)


if __name__ == "__main__":
    anyio.run(main)
