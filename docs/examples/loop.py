import anyio

from anyio_workflows import Event, StartEvent, StopEvent, Workflow, step


class Letter(StartEvent):
    text: str
    limit: int = 20


class Draft(Event):
    text: str
    limit: int
    version: int = 1


class TooLong(Event):
    draft: Draft


class Sent(StopEvent):
    text: str
    version: int


class Shortening(Workflow):
    @step
    async def write(self, ev: Letter) -> Draft:
        return Draft(text=ev.text, limit=ev.limit)

    @step
    async def review(self, ev: Draft) -> TooLong | Sent:
        if len(ev.text) > ev.limit:
            return TooLong(draft=ev)
        return Sent(text=ev.text, version=ev.version)

    @step
    async def shorten(self, ev: TooLong) -> Draft:
        shorter = ev.draft.text.rpartition(" ")[0]
        return Draft(text=shorter, limit=ev.draft.limit, version=ev.draft.version + 1)


async def main() -> None:
    sent = await Shortening().run(text="the quick brown fox jumps over the dog")
    print(f"version {sent.version}: {sent.text}")


if __name__ == "__main__":
    anyio.run(main)
