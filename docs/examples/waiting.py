import anyio

from anyio_workflows import (
    Context,
    HumanResponseEvent,
    InputRequiredEvent,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


class FieldRequired(InputRequiredEvent):
    name: str


class FieldGiven(HumanResponseEvent):
    name: str
    text: str


class Form(Workflow):
    @step(waits_for=FieldGiven)
    async def fill(self, ctx: Context, ev: StartEvent) -> StopEvent:
        given = []
        for name in ("city", "street"):
            answer = await ctx.wait_for_event(
                FieldGiven, waiter_event=FieldRequired(name=name), requirements={"name": name}
            )
            given.append(answer.text)
        return StopEvent(result=", ".join(given))


async def main() -> None:
    answers = {"city": "Oslo", "street": "Main Street"}
    async with Form().run() as handler:
        async for event in handler.stream_events():
            if isinstance(event, FieldRequired):
                print(f"{event.name}?")
                handler.send_event(FieldGiven(name=event.name, text=answers[event.name]))
    print(await handler)


if __name__ == "__main__":
    anyio.run(main)
