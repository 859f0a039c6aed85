"""Process several events of one type, one at a time and at once: `num_workers` of a step decides.

Run it with ``python examples/parallel_execution.py [--backend trio]``.
"""

import argparse
import random
import time

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class ProcessEvent(Event):
    data: str


class ResultEvent(Event):
    result: str


class SequentialWorkflow(Workflow):
    @step
    async def start(self, ctx: Context, ev: StartEvent) -> ProcessEvent:
        data_list = ["A", "B", "C"]
        await ctx.store.set("num_to_collect", len(data_list))
        for item in data_list:
            ctx.send_event(ProcessEvent(data=item))
        return None

    @step(num_workers=1)
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
    sequential_workflow = SequentialWorkflow()

    print("Start a sequential workflow without setting num_workers in the step of process_data")
    start_time = time.time()
    result = await sequential_workflow.run()
    end_time = time.time()
    print(f"Workflow result: {result}")
    print(f"Time taken: {end_time - start_time} seconds")
    print("-" * 30)

    parallel_workflow = ParallelWorkflow()

    print("Start a parallel workflow with setting num_workers in the step of process_data")
    start_time = time.time()
    result = await parallel_workflow.run()
    end_time = time.time()
    print(f"Workflow result: {result}")
    print(f"Time taken: {end_time - start_time} seconds")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    anyio.run(main, backend=parser.parse_args().backend)
