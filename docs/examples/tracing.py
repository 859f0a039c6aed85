import anyio
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.otel import OpenTelemetryObserver

exporter = InMemorySpanExporter()  # yours sends them to a collector
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
tracer = provider.get_tracer("my application")


class Page(Event):
    number: int


class Printing(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Page:
        ctx.send_event(Page(number=1))
        return Page(number=2)

    @step(num_workers=1)
    def render(self, ev: Page) -> StopEvent | None:  # in a thread
        with tracer.start_as_current_span(f"rendering page {ev.number}"):
            return StopEvent() if ev.number == 2 else None


def show(spans: tuple[ReadableSpan, ...], parent: int | None = None, indent: str = "") -> None:
    """Print the spans below *parent*, in the order in which they were started."""
    for span in sorted(spans, key=lambda span: span.start_time):
        if (span.parent.span_id if span.parent else None) == parent:
            print(f"{indent}{span.name}: {span.attributes.get('workflow.event.type', '-')}")
            show(spans, span.get_span_context().span_id, indent + "  ")


async def main() -> None:
    workflow = Printing(observers=[OpenTelemetryObserver(provider)])
    with tracer.start_as_current_span("request"):
        await workflow.run()
    show(exporter.get_finished_spans())


if __name__ == "__main__":
    anyio.run(main)
