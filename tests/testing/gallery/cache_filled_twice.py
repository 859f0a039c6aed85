"""A value is looked up in a cache and, if it is not there, computed; meanwhile another finds it missing as well."""

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration, checkpoint


class Question(Event):
    words: str


class Embedded(Event):
    vector: int


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, int] = {}
        self.paid: list[str] = []
        self.filling = anyio.Lock()

    async def ask_model(self, words: str) -> int:
        self.paid.append(words)
        await checkpoint("the model")
        return len(words)

    async def embedding(self, words: str) -> int:
        if words not in self.cache:
            self.cache[words] = await self.ask_model(words)
        return self.cache[words]

    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Question | None:
        for words in ("cheap flights", "cheap flights", "hotels"):
            ctx.send_event(Question(words=words))
        return None

    @step
    async def embed(self, ctx: Context, ev: Question) -> Embedded:
        return Embedded(vector=await self.embedding(ev.words))

    @step
    async def join(self, ctx: Context, ev: Embedded) -> StopEvent | None:
        vectors = ctx.collect_events(ev, [Embedded] * 3)
        return None if vectors is None else StopEvent(result=sum(each.vector for each in vectors))


class Fixed(Broken):
    async def embedding(self, words: str) -> int:
        async with self.filling:
            return await super().embedding(words)


def invariant(seen: Exploration) -> None:
    paid = seen.workflow.paid  # type: ignore[attr-defined]
    assert len(paid) == len(set(paid)), f"the model was paid for {paid}"
