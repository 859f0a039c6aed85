import anyio

from anyio_workflows import StartEvent, StopEvent, Workflow, step


class Download(Workflow):
    @step
    async def fetch(self, ev: StartEvent) -> StopEvent:
        try:
            await anyio.sleep_forever()  # a server that never answers
        finally:
            with anyio.CancelScope(shield=True):  # so that the clean-up may await
                await anyio.sleep(0.001)
            print("connection closed")
        return StopEvent()


async def main() -> None:
    with anyio.move_on_after(0.05) as scope:
        await Download().run()
    print(f"gave up: {scope.cancelled_caught}")


if __name__ == "__main__":
    anyio.run(main)
