"""Keep checkpoints of a parallel workflow, and run it again from each of them.

Run it with ``python examples/parallel_checkpointing.py [--backend trio]``.
"""

import argparse
import random

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, WorkflowCheckpointer, step


class ProcessEvent(Event):
    data: str


class ResultEvent(Event):
    result: str


class ParallelWorkflow(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> ProcessEvent:
        data_list = ["A", "B", "C"]
        await ctx.store.set("num_to_collect", len(data_list))
        for item in data_list:
            ctx.send_event(ProcessEvent(data=item))
        return None

    @step(num_workers=3)
    async def process_data(self, ev: ProcessEvent) -> ResultEvent:
        # Simulate some time-consuming processing
        processing_time = 2 + random.random()
        await anyio.sleep(processing_time)
        result = f"Processed: {ev.data}"
        print(f"Completed processing: {ev.data}")
        return ResultEvent(result=result)

    @step
    async def combine_results(self, ctx: Context, ev: ResultEvent) -> StopEvent | None:
        num_to_collect = await ctx.store.get("num_to_collect")
        results = ctx.collect_events(ev, [ResultEvent] * num_to_collect)
        if results is None:
            return None

        combined_result = ", ".join([event.result for event in results])
        return StopEvent(result=combined_result)


async def main() -> None:
    parallel_workflow = ParallelWorkflow()

    wflow_ckptr = WorkflowCheckpointer(workflow=parallel_workflow)
    handler = wflow_ckptr.run()
    print(repr(await handler))

    for run_id, ckpts in wflow_ckptr.checkpoints.items():
        print(f"Run: {run_id} has {[c.last_completed_step for c in ckpts]}")

    # checkpoint after the first "process_data" step
    ckpt = wflow_ckptr.checkpoints[run_id][0]
    handler = wflow_ckptr.run_from(ckpt)
    print(repr(await handler))

    for run_id, ckpts in wflow_ckptr.checkpoints.items():
        print(f"Run: {run_id} has {[c.last_completed_step for c in ckpts]}")

    # get the run_id of the first initial run
    first_run_id = next(iter(wflow_ckptr.checkpoints.keys()))
    print(repr(first_run_id))

    ckpt = wflow_ckptr.checkpoints[first_run_id][1]  # checkpoint after the second "process_data" step
    handler = wflow_ckptr.run_from(ckpt)
    print(repr(await handler))

    for run_id, ckpts in wflow_ckptr.checkpoints.items():
        print(f"Run: {run_id} has {[c.last_completed_step for c in ckpts]}")

    ckpt = wflow_ckptr.checkpoints[first_run_id][2]  # checkpoint after the third "process_data" step
    handler = wflow_ckptr.run_from(ckpt)
    print(repr(await handler))

    for run_id, ckpts in wflow_ckptr.checkpoints.items():
        print(f"Run: {run_id} has {[c.last_completed_step for c in ckpts]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
