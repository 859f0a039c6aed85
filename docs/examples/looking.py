from tempfile import TemporaryDirectory

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step, to_mermaid
from anyio_workflows.trace import TraceRecorder


class Order(Event):
    dish: str


class Dish(Event):
    name: str


class Kitchen(Workflow):
    @step
    async def take(self, ctx: Context, ev: StartEvent) -> Order | None:
        for dish in ev.dishes:
            ctx.send_event(Order(dish=dish))
        return None

    @step(num_workers=2)
    async def cook(self, ev: Order) -> Dish:
        await anyio.sleep(0.01)
        return Dish(name=ev.dish)

    @step
    async def serve(self, ctx: Context, ev: Dish) -> StopEvent | None:
        dishes = ctx.collect_events(ev, [Dish] * 3)
        return StopEvent(result=len(dishes)) if dishes else None


async def main() -> None:
    recorder = TraceRecorder()
    kitchen = Kitchen(observers=[recorder])
    print(to_mermaid(kitchen.graph).splitlines()[0])
    print(f"{await kitchen.run(dishes=('soup', 'stew', 'cake'))} dishes")
    with TemporaryDirectory() as folder:  # yours is one where they stay
        for name, text in (
            ("graph.svg", kitchen.graph.to_svg()),
            ("graph.html", kitchen.graph.to_html()),
            ("trace.html", recorder.to_html()),
        ):
            await anyio.Path(folder, name).write_text(text, encoding="utf-8")
            print(f"{name} begins with {text.split()[0]}")


if __name__ == "__main__":
    anyio.run(main)
