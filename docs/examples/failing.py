import anyio

from anyio_workflows import StartEvent, StopEvent, Workflow, step


class Reading(Workflow):
    @step
    async def parse(self, ev: StartEvent) -> StopEvent:
        return StopEvent(result=int(ev.text))


async def main() -> None:
    handler = Reading().run(text="twelve")
    try:
        await handler
    except ValueError as error:
        print(f"ValueError: {error}")
        print(*error.__notes__, sep="\n")
        print("the first of handler.failures:", handler.failures[0] is error)


if __name__ == "__main__":
    anyio.run(main)
