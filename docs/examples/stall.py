import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, WorkflowStalledError, step


class QuestionAsked(Event):
    of: str


class ResultEvent(Event):
    text: str


class Survey(Workflow):
    @step
    async def ask(self, ctx: Context, ev: StartEvent) -> QuestionAsked | None:
        for person in ("Ann", "Bob", "Cy"):
            ctx.send_event(QuestionAsked(of=person))
        return None

    @step
    async def answer(self, ev: QuestionAsked) -> ResultEvent | None:
        if ev.of == "Bob":
            return None  # he never answers
        return ResultEvent(text=f"{ev.of} says yes")

    @step
    async def combine(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
        results = ctx.collect_events(ev, [ResultEvent] * 3)
        if results is None:
            return None
        return StopEvent(result=len(results))


async def main() -> None:
    try:
        await Survey().run()
    except WorkflowStalledError as error:
        print(error)


if __name__ == "__main__":
    anyio.run(main)
