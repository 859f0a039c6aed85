import anyio
from anyio import CapacityLimiter

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


def provider() -> CapacityLimiter:
    """Two requests at once, whoever makes them; called once for each event loop."""
    return CapacityLimiter(2)


class Provider:
    """Stands for a service that refuses a third request."""

    in_flight = 0
    most = 0

    async def ask(self, question: str) -> str:
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        await anyio.sleep(0.01)
        self.in_flight -= 1
        return question.upper()


service = Provider()


class QuestionAsked(Event):
    text: str


class Answered(Event):
    text: str


class Asking(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> QuestionAsked | None:
        for word in ev.words:
            ctx.send_event(QuestionAsked(text=word))
        return None

    @step(num_workers=10, limiter=provider)
    async def ask(self, ev: QuestionAsked) -> Answered:
        return Answered(text=await service.ask(ev.text))

    @step
    async def join(self, ctx: Context, ev: Answered) -> StopEvent | None:
        answers = ctx.collect_events(ev, [Answered] * 3)
        if answers is None:
            return None
        return StopEvent(result=" ".join(answer.text for answer in answers))


async def main() -> None:
    workflow = Asking()
    async with anyio.create_task_group() as tasks:
        for words in (("one", "two", "three"), ("four", "five", "six")):
            tasks.start_soon(ask_all, workflow, words)
    print(f"at most {service.most} requests at once")


async def ask_all(workflow: Asking, words: tuple[str, ...]) -> None:
    await workflow.run(words=words)


if __name__ == "__main__":
    anyio.run(main)
