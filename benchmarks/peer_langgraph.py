"""The works on langgraph, as its documentation would have them written."""

import asyncio
import operator
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send, interrupt
from sizes import STREAM_BURST, WORKERS


class Number(TypedDict):
    n: int


class Items(TypedDict):
    n: int
    done: Annotated[list[int], operator.add]


async def _hop(state: Number) -> Number:
    return {"n": state["n"] - 1}


async def _same(state: Number) -> Number:
    return {"n": state["n"]}


async def _work(item: Number) -> dict[str, list[int]]:
    return {"done": [item["n"]]}


async def _collect(state: Items) -> Number:
    return {"n": len(state["done"])}


async def _write(state: Number) -> Number:
    write = get_stream_writer()
    event = {"n": 1}
    for n in range(state["n"]):
        write(event)
        if n % STREAM_BURST == 0:
            await asyncio.sleep(0)
    return {"n": state["n"]}


async def _ask(_state: Number) -> Number:
    return {"n": interrupt("?")}


_loop = StateGraph(Number)
_loop.add_node("hop", _hop)
_loop.add_edge(START, "hop")
_loop.add_conditional_edges("hop", lambda state: "hop" if state["n"] else END, ["hop", END])
_LOOP = _loop.compile()

_fan_out = StateGraph(Items)
_fan_out.add_node("work", _work)
_fan_out.add_node("collect", _collect)
_fan_out.add_conditional_edges(
    START, lambda state: [Send("work", {"n": n}) for n in range(state["n"])], ["work"]
)
_fan_out.add_edge("work", "collect")
_fan_out.add_edge("collect", END)
_FAN_OUT = _fan_out.compile()

_three_steps = StateGraph(Number)
for _name in ("first", "second", "third"):
    _three_steps.add_node(_name, _same)
_three_steps.add_edge(START, "first")
_three_steps.add_edge("first", "second")
_three_steps.add_edge("second", "third")
_three_steps.add_edge("third", END)
_THREE_STEPS = _three_steps.compile()

_one_step = StateGraph(Number)
_one_step.add_node("only", _same)
_one_step.add_edge(START, "only")
_one_step.add_edge("only", END)
_ONE_STEP = _one_step.compile()

_stream = StateGraph(Number)
_stream.add_node("write", _write)
_stream.add_edge(START, "write")
_stream.add_edge("write", END)
_STREAM = _stream.compile()

_ask_graph = StateGraph(Number)
_ask_graph.add_node("ask", _ask)
_ask_graph.add_edge(START, "ask")
_ask_graph.add_edge("ask", END)


async def loop(hops: int) -> None:
    await _LOOP.ainvoke({"n": hops}, {"recursion_limit": hops + 10})


async def fan_out(count: int) -> None:
    config: RunnableConfig = {"max_concurrency": WORKERS, "recursion_limit": 100}
    result = await _FAN_OUT.ainvoke({"n": count, "done": []}, config)
    assert result["n"] == count


async def three_steps(runs: int) -> None:
    await asyncio.gather(*(_THREE_STEPS.ainvoke({"n": 1}) for _ in range(runs)))


async def one_step(_count: int) -> None:
    await _ONE_STEP.ainvoke({"n": 1})


async def stream(count: int) -> None:
    read = 0
    async for _event in _STREAM.astream({"n": count}, stream_mode="custom"):
        read += 1
    assert read == count


@asynccontextmanager
async def parked(runs: int) -> AsyncIterator[Callable[[], int]]:
    # An interrupted run is a checkpoint here, not a task.
    graph = _ask_graph.compile(checkpointer=InMemorySaver())
    for run in range(runs):
        await graph.ainvoke({"n": 1}, {"configurable": {"thread_id": str(run)}})
    yield lambda: runs
