import anyio

from anyio_workflows import StartEvent, StopEvent, Workflow, step


class Greeting(Workflow):
    @step
    async def greet(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=f"Hello, {ev.name}!")


async def main() -> None:
    result = await Greeting().run(name="world")
    print(result)


if __name__ == "__main__":
    anyio.run(main)  # or anyio.run(main, backend="trio")
