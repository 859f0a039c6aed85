import anyio

from anyio_workflows import Context, Event, StartEvent, StepStateChanged, StopEvent, Workflow, step
from anyio_workflows.testing import WorkflowTestRunner


class Brewed(Event):
    cup: int


class Brewing(Workflow):
    @step
    async def brew(self, ctx: Context, ev: StartEvent) -> StopEvent:
        for cup in range(1, ev.cups + 1):
            ctx.write_event_to_stream(Brewed(cup=cup))
        await ctx.store.set("tea", "green")
        return StopEvent(result=f"{ev.cups} cups")


async def test_brewing() -> None:
    runner = WorkflowTestRunner(Brewing())
    found = await runner.run(StartEvent(cups=2), exclude_events=[StepStateChanged])
    assert found.collected == [Brewed(cup=1), Brewed(cup=2), StopEvent(result="2 cups")]
    assert found.event_types[Brewed] == 2
    assert found.result == "2 cups"
    assert found.state["tea"] == "green"


async def main() -> None:
    await test_brewing()
    print("1 passed")


if __name__ == "__main__":
    anyio.run(main)
