import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, WorkflowCheckpointer, step


class PageFound(Event):
    number: int


class PageTranslated(Event):
    number: int


class Translating(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> PageFound | None:
        for number in (1, 2, 3):
            ctx.send_event(PageFound(number=number))
        return None

    @step(num_workers=1)
    async def translate(self, ev: PageFound) -> PageTranslated:
        print(f"translating page {ev.number}")
        return PageTranslated(number=ev.number)

    @step
    async def bind(self, ctx: Context, ev: PageTranslated) -> StopEvent | None:
        pages = ctx.collect_events(ev, {PageTranslated: 3})
        return None if pages is None else StopEvent(result=f"{len(pages)} pages")


async def main() -> None:
    # Take them: run the workflow with a checkpointer.
    checkpointer = WorkflowCheckpointer(workflow=Translating())
    print(await checkpointer.run(run_id="first"))

    # Look at them.
    for checkpoint in checkpointer.checkpoints["first"]:
        print(checkpoint.id_, "after", checkpoint.last_completed_step, "gave", checkpoint.output_event)

    # Filter them.
    [bound] = checkpointer.filter_checkpoints(last_completed_step="bind")
    print("bind was called with", bound.input_event)
    early = checkpointer.filter_checkpoints(run_id="first", output_event_type=PageTranslated)[0]
    for pending in early.pending:
        print("pending at", pending.step, pending.event)

    # Write one down, and read it again, perhaps in another process.
    document = checkpointer.dumps(early)
    checkpointer = WorkflowCheckpointer(workflow=Translating())
    early = checkpointer.loads(document)

    # Run from it: a new run, in which page 1 is translated already.
    handler = checkpointer.run_from(early)
    print(await handler)
    print([checkpoint.last_completed_step for checkpoint in checkpointer.checkpoints[handler.run_id]])


if __name__ == "__main__":
    anyio.run(main)
