import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows.abc import AttemptEnd, ObservedAttempt, ObservedRun, Observer, RunEnd


class Parcel(Event):
    weight: int


class Sending(Workflow):
    @step
    async def pack(self, ctx: Context, ev: StartEvent) -> Parcel | None:
        for weight in ev.weights:
            ctx.send_event(Parcel(weight=weight))
        return None

    @step(num_workers=1)
    async def weigh(self, ev: Parcel) -> StopEvent | None:
        if ev.weight > 30:
            raise ValueError("too heavy")
        return None


class Ledger(Observer):
    """Prints what became of each attempt."""

    def attempt_ended(self, attempt: ObservedAttempt, end: AttemptEnd) -> None:
        said = end.error if end.status == "failed" else end.output
        print(f"{attempt.step} at {attempt.event}, attempt {attempt.attempt}: {end.status}, {said}")

    def run_ended(self, run: ObservedRun, end: RunEnd) -> None:
        print(f"run {run.run_id} of {run.workflow}: {end.status}")


async def main() -> None:
    workflow = Sending(observers=[Ledger()])
    try:
        await workflow.run(weights=(3, 31), run_id="monday")
    except ValueError as error:
        print(f"caught: {error}")


if __name__ == "__main__":
    anyio.run(main)
