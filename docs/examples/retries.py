import anyio
from tenacity import retry_if_exception_type, stop_after_attempt, wait_exponential

from anyio_workflows import Context, Event, RetryPolicy, StartEvent, StopEvent, Workflow, step


class BusyError(Exception):
    pass


class Provider:
    """Stands for a service that refuses each question once, and one of them always."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def ask(self, question: str) -> str:
        self.asked.append(question)
        if question == "nonsense":
            raise ValueError("no such question")
        if self.asked.count(question) == 1:
            raise BusyError("try again later")
        return question.upper()


class QuestionAsked(Event):
    text: str


class Answered(Event):
    text: str


POLITE = RetryPolicy(
    retry=retry_if_exception_type(BusyError),
    wait=wait_exponential(multiplier=0.01, max=30),
    stop=stop_after_attempt(5),
)


class Asking(Workflow):
    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> QuestionAsked | None:
        for word in ev.words:
            ctx.send_event(QuestionAsked(text=word))
        return None

    @step(num_workers=1, retry_policy=POLITE)
    async def ask(self, ctx: Context, ev: QuestionAsked) -> Answered:
        info = ctx.retry_info()
        if info.last_exception is not None:
            print(f"{ev.text}: retry {info.retry_number}, after {info.last_exception!r}")
        return Answered(text=await self.provider.ask(ev.text))

    @step
    async def join(self, ctx: Context, ev: Answered) -> StopEvent | None:
        answers = ctx.collect_events(ev, [Answered] * 2)
        if answers is None:
            return None
        return StopEvent(result=sorted(answer.text for answer in answers))


async def main() -> None:
    provider = Provider()
    print(await Asking(provider).run(words=("one", "two")))
    print(provider.asked)
    try:
        await Asking(provider).run(words=("nonsense", "two"))
    except ValueError as error:
        print(repr(error), *error.__notes__, sep="\n")


if __name__ == "__main__":
    anyio.run(main)
