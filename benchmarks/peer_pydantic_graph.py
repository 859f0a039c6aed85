"""The works on pydantic-graph's graph builder, as its documentation would have them written.

It has no stream of events and nothing that waits for a human in a live run.
"""

import asyncio
from typing import Any

from pydantic_graph import Graph, GraphBuilder, StepContext, reduce_list_append


def _make_loop() -> Graph[None, None, int, int]:
    builder = GraphBuilder(input_type=int, output_type=int)

    @builder.step
    async def hop(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs - 1

    builder.add(
        builder.edge_from(builder.start_node).to(hop),
        builder.edge_from(hop).to(
            builder.decision()
            .branch(builder.match(int, matches=lambda n: n > 0).to(hop))
            .branch(builder.match(int).to(builder.end_node))
        ),
    )
    return builder.build()


def _make_fan_out() -> Graph[None, None, int, int]:
    builder = GraphBuilder(input_type=int, output_type=int)

    @builder.step
    async def split(ctx: StepContext[None, None, int]) -> list[int]:
        return list(range(ctx.inputs))

    @builder.step
    async def work(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    collected = builder.join(reduce_list_append, initial_factory=list[int])

    @builder.step
    async def collect(ctx: StepContext[None, None, list[int]]) -> int:
        return len(ctx.inputs)

    builder.add(
        builder.edge_from(builder.start_node).to(split),
        builder.edge_from(split).map().to(work),
        builder.edge_from(work).to(collected),
        builder.edge_from(collected).to(collect),
        builder.edge_from(collect).to(builder.end_node),
    )
    return builder.build()


def _make_chain(length: int) -> Graph[None, None, int, int]:
    builder = GraphBuilder(input_type=int, output_type=int)

    async def same(ctx: StepContext[None, None, int]) -> int:
        return ctx.inputs

    source: Any = builder.start_node
    for number in range(length):
        target = builder.step(same, node_id=f"step_{number}")
        builder.add(builder.edge_from(source).to(target))
        source = target
    builder.add(builder.edge_from(source).to(builder.end_node))
    return builder.build()


_LOOP = _make_loop()
_FAN_OUT = _make_fan_out()
_THREE_STEPS = _make_chain(3)
_ONE_STEP = _make_chain(1)


async def loop(hops: int) -> None:
    await _LOOP.run(inputs=hops)


async def fan_out(count: int) -> None:
    result = await _FAN_OUT.run(inputs=count)
    assert result == count


async def three_steps(runs: int) -> None:
    await asyncio.gather(*(_THREE_STEPS.run(inputs=1) for _ in range(runs)))


async def one_step(_count: int) -> None:
    await _ONE_STEP.run(inputs=1)
