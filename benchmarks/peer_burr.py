"""The works on apache-burr, as its documentation would have them written.

An application of it is one run: the graph is shared, the application is built for each.
It has no fan-out within a graph (its map/reduce starts an application per item), no stream between
actions and nothing that waits for a human but ending the run.
"""

import asyncio

from burr.core import Application, ApplicationBuilder, Graph, GraphBuilder, State, action, default, expr


@action(reads=["n"], writes=["n"])
async def hop(state: State) -> State:
    return state.update(n=state["n"] - 1)


@action(reads=["n"], writes=["n"])
async def first(state: State) -> State:
    return state.update(n=state["n"])


@action(reads=["n"], writes=["n"])
async def second(state: State) -> State:
    return state.update(n=state["n"])


@action(reads=["n"], writes=["n"])
async def third(state: State) -> State:
    return state.update(n=state["n"])


@action(reads=["n"], writes=[])
async def end(state: State) -> State:
    return state


_LOOP = (
    GraphBuilder()
    .with_actions(hop, end)
    .with_transitions(("hop", "hop", expr("n > 0")), ("hop", "end", default))
    .build()
)
_THREE_STEPS = (
    GraphBuilder()
    .with_actions(first, second, third)
    .with_transitions(("first", "second"), ("second", "third"))
    .build()
)
_ONE_STEP = GraphBuilder().with_actions(first).build()


def _application(graph: Graph, entry: str, n: int) -> Application[State]:
    return ApplicationBuilder().with_graph(graph).with_state(n=n).with_entrypoint(entry).build()


async def loop(hops: int) -> None:
    await _application(_LOOP, "hop", hops).arun(halt_after=["end"])


async def three_steps(runs: int) -> None:
    async def run_one() -> None:
        await _application(_THREE_STEPS, "first", 1).arun(halt_after=["third"])

    await asyncio.gather(*(run_one() for _ in range(runs)))


async def one_step(_count: int) -> None:
    await _application(_ONE_STEP, "first", 1).arun(halt_after=["first"])
