from collections.abc import Callable

import anyio
import attrs

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step

CHUNK = 100
"""Lines that one execution of the source sends."""


def read_lines(first: int, count: int) -> list[str]:
    """Stand for something long that can be read from any place: a file, a table, a listing with a cursor."""
    return ["x" * (number % 7) for number in range(first, min(first + count, 1000))]


class ReadOn(Event):
    line: int


class LineRead(Event):
    text: str


class SourceRead(Event):
    lines: int


class LineMeasured(Event):
    length: int


@attrs.define
class Totals:
    measured: int = 0
    length: int = 0
    expected: int | None = None


class Measuring(Workflow):
    def __init__(self, source: Callable[[int, int], list[str]]) -> None:
        super().__init__()
        self.source = source

    @step
    async def begin(self, ev: StartEvent) -> ReadOn:
        return ReadOn(line=0)

    @step(num_workers=1)
    async def read(self, ctx: Context, ev: ReadOn) -> LineRead | ReadOn | SourceRead:
        chunk = self.source(ev.line, CHUNK)
        for text in chunk:
            await ctx.send(LineRead(text=text))  # waits while `measure` has too much to do
        line = ev.line + len(chunk)
        return ReadOn(line=line) if chunk else SourceRead(lines=line)

    @step(num_workers=4, max_pending=8)
    async def measure(self, ctx: Context, ev: LineRead) -> LineMeasured | None:
        await ctx.send(LineMeasured(length=len(ev.text)))
        return None

    @step(num_workers=1, max_pending=8)
    async def add_up(self, ctx: Context[Totals], ev: LineMeasured | SourceRead) -> StopEvent | None:
        async with ctx.store.edit_state() as totals:
            match ev:
                case LineMeasured(length=length):
                    totals.measured += 1
                    totals.length += length
                case SourceRead(lines=lines):
                    totals.expected = lines
            is_done = totals.measured == totals.expected
            mean = totals.length / max(totals.measured, 1)
        return StopEvent(result=mean) if is_done else None


async def main() -> None:
    mean = await Measuring(read_lines).run()
    print(f"mean length {mean:.2f}")


if __name__ == "__main__":
    anyio.run(main)
