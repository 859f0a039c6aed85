"""Send several events at once and stop with the first that is done: a StopEvent ends the run.

Run it with ``python examples/concurrent_first_wins.py [--backend trio]``.
"""

import argparse
import random

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class StepTwoEvent(Event):
    query: str


class ParallelFlow(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> StepTwoEvent | None:
        ctx.send_event(StepTwoEvent(query="Query 1"))
        ctx.send_event(StepTwoEvent(query="Query 2"))
        ctx.send_event(StepTwoEvent(query="Query 3"))

    @step(num_workers=4)
    async def step_two(self, ev: StepTwoEvent) -> StopEvent:
        print("Running slow query ", ev.query)
        await anyio.sleep(random.randint(0, 5))

        return StopEvent(result=ev.query)


async def main() -> None:
    result = await ParallelFlow().run()
    print(f"Workflow result: {result}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
