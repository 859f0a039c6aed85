"""A ReAct agent: a model thinks aloud, calls tools, looks at what they gave, and thinks again until it can answer.

It is the agent of the LlamaIndex Workflows documentation, and its events have the names that they have there. What
the model writes is streamed while it writes. The tools that it calls in one breath run at once, as a fan-out. A tool
that fails fails no run: the model reads what was wrong. What was said is in the state of the run, and the next
question is given that state.

The model is a recording: it answers what a model once answered, and needs neither a network nor a key.

Run it with ``python examples/agent.py [question ...] [--backend trio]``. It ends with 0, with 1 if the agent gives up,
with 2 if it was called wrongly.
"""

import argparse
import json
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from importlib.util import find_spec
from typing import Annotated, Any

import anyio
import attrs
from anyio.lowlevel import checkpoint
from tenacity import retry_if_exception_type

from anyio_workflows import (
    Collect,
    Context,
    Event,
    RetryPolicy,
    StartEvent,
    StepFailedEvent,
    StopEvent,
    Workflow,
    catch_error,
    step,
)

MOST_ROUNDS = 8
"""How often the model may think about one question."""


# --- The model


@attrs.frozen(kw_only=True)
class Message:
    """Something that was said."""

    role: str
    text: str


class RecordedModel:
    """Writes what a model once wrote: each reply belongs to the message that was the last one then."""

    def __init__(self, replies: Mapping[str, str]) -> None:
        self._replies = replies

    async def stream(self, messages: Sequence[Message]) -> AsyncGenerator[str, None]:
        """Write the reply to *messages*, word by word."""
        asked = messages[-1].text
        if asked not in self._replies:
            raise LookupError(f"the recording has no reply to {asked!r}")
        for word in re.findall(r"\s*\S+", self._replies[asked]):
            await checkpoint()  # here a real model would be waited for
            yield word


REPLIES = {
    "How much higher is Mont Blanc than Ben Nevis?": """\
Thought: I need the height of both, and can ask for them at once.
Action: height {"mountain": "Mont Blanc"}
Action: height {"mountain": "Bennevis"}""",
    "height gave 4806 m\nheight failed: there is no 'Bennevis'; there are Ben Nevis, Etna, Mont Blanc": """\
Thought: I have misspelled one of them.
Action: height {"mountain": "Ben Nevis"}""",
    "height gave 1345 m": """\
Thought: 4806 - 1345 is 3461.
Answer: It is 3,461 metres higher.""",
    "And in feet?": """\
Thought: I know the difference in metres.
Action: feet {"metres": 3461}""",
    "feet gave 11355": """\
Thought: That is it.
Answer: It is 11,355 feet higher.""",
}


# --- The tools

HEIGHTS = {"Ben Nevis": 1345, "Etna": 3357, "Mont Blanc": 4806}


async def height(mountain: str) -> str:
    """Give the height of a mountain."""
    await checkpoint()
    if mountain not in HEIGHTS:
        raise LookupError(f"there is no {mountain!r}; there are {', '.join(HEIGHTS)}")
    return f"{HEIGHTS[mountain]} m"


async def feet(metres: float) -> str:
    """Convert metres into feet."""
    await checkpoint()
    return f"{metres / 0.3048:.0f}"


# --- The workflow


class QuestionEvent(StartEvent):
    question: str


class PrepEvent(Event):
    """The model is to think about what was said."""


class InputEvent(Event):
    messages: tuple[Message, ...]


class StreamEvent(Event):
    """For whoever watches: what the model writes, piece by piece."""

    delta: str


class ToolCallEvent(Event):
    tool: str
    arguments: str
    """JSON, or what the model takes for it."""


class ToolOutputEvent(Event):
    text: str


class AnswerEvent(StopEvent):
    text: str
    rounds: int


class TooManyRoundsError(Exception):
    """The model thinks and thinks, and does not answer."""


@attrs.define
class Memory:
    """What the agent knows."""

    messages: tuple[Message, ...] = ()
    """What was said, in this run and in those before it."""
    rounds: int = 0
    """How often the model has thought about the last question."""

    def add(self, role: str, text: str) -> None:
        self.messages += (Message(role=role, text=text),)


class ReActAgent(Workflow):
    """Think, act, look, and think again."""

    def __init__(
        self, model: RecordedModel, tools: Sequence[Callable[..., Awaitable[str]]], **options: Any
    ) -> None:
        super().__init__(**options)
        self.model = model
        self.tools = {tool.__name__: tool for tool in tools}
        lines = [f"- {name}: {tool.__doc__}" for name, tool in self.tools.items()]
        text = "Write 'Thought: ...', then 'Answer: ...' or lines of 'Action: tool {JSON}'. The tools:"
        self.system = Message(role="system", text="\n".join([text, *lines]))

    @step
    async def new_user_msg(self, ctx: Context[Memory], ev: QuestionEvent) -> PrepEvent:
        async with ctx.store.edit_state() as memory:
            memory.rounds = 0
            memory.add("user", ev.question)
        return PrepEvent()

    @step
    async def prepare_chat_history(self, ctx: Context[Memory], ev: PrepEvent) -> InputEvent:
        async with ctx.store.edit_state() as memory:
            memory.rounds += 1
        if memory.rounds > MOST_ROUNDS:
            raise TooManyRoundsError(f"there was no answer in {MOST_ROUNDS} rounds")
        return InputEvent(messages=(self.system, *memory.messages))

    @step
    async def handle_llm_input(
        self, ctx: Context[Memory], ev: InputEvent
    ) -> list[ToolCallEvent] | PrepEvent | AnswerEvent:
        reply = ""
        async with aclosing(self.model.stream(ev.messages)) as deltas:
            async for delta in deltas:
                ctx.write_event_to_stream(StreamEvent(delta=delta))
                reply += delta
        calls = re.findall(r"^Action: (\w+) (.*)$", reply, re.MULTILINE)
        answer = re.search(r"^Answer: (.*)", reply, re.MULTILINE | re.DOTALL)
        async with ctx.store.edit_state() as memory:
            memory.add("assistant", reply)
            if not calls and answer is None:
                memory.add("user", "Write 'Action: tool {JSON}' or 'Answer: ...' after your thought.")
        if calls:
            return [ToolCallEvent(tool=tool, arguments=given) for tool, given in calls]
        if answer is not None:
            return AnswerEvent(text=answer[1].strip(), rounds=memory.rounds)
        return PrepEvent()

    @step(num_workers=8, timeout=10, retry_policy=RetryPolicy(retry=retry_if_exception_type(ConnectionError)))
    async def call_tool(self, ev: ToolCallEvent) -> ToolOutputEvent:
        if ev.tool not in self.tools:
            raise LookupError(f"there is no such tool; there are {', '.join(self.tools)}")
        output = await self.tools[ev.tool](**json.loads(ev.arguments))
        return ToolOutputEvent(text=f"{ev.tool} gave {output}")

    # One question is one lineage of events, so this counts its rounds: in each of them a tool may fail.
    @catch_error(for_steps=["call_tool"], max_recoveries=MOST_ROUNDS)
    async def tool_failed(self, ev: StepFailedEvent) -> ToolOutputEvent:
        call = ev.input_event
        assert isinstance(call, ToolCallEvent)
        return ToolOutputEvent(text=f"{call.tool} failed: {ev.exception}")

    @step
    async def handle_tool_outputs(
        self, ctx: Context[Memory], evs: Annotated[list[ToolOutputEvent], Collect(order="emission")]
    ) -> PrepEvent:
        observed = "\n".join(ev.text for ev in evs)
        async with ctx.store.edit_state() as memory:
            memory.add("user", observed)
        ctx.write_event_to_stream(StreamEvent(delta=f"\n{observed}\n"))
        return PrepEvent()


# --- The command line


async def converse(agent: ReActAgent, questions: Sequence[str]) -> None:
    """Ask one question after the other; each run is given what was said in those before it."""
    memory: Memory | None = None
    for question in questions:
        print(f"You: {question}")
        async with agent.run(question=question, state=memory) as handler:
            async for event in handler.stream_events():
                if isinstance(event, StreamEvent):
                    print(event.delta, end="", flush=True)
        answer: AnswerEvent = await handler
        print(f"\n(rounds: {answer.rounds})\n")
        memory = handler.state


def main(arguments: Sequence[str] | None = None) -> int:
    """Ask what *arguments* ask, and return the exit code."""
    asked = [text for text in REPLIES if text.endswith("?")]
    parser = argparse.ArgumentParser(description="Ask an agent with tools.")
    parser.add_argument(
        "questions", nargs="*", default=asked, help=f"default: {asked}, which is all it knows"
    )
    parser.add_argument("--backend", choices=("asyncio", "trio"), default="asyncio")
    options = parser.parse_args(arguments)
    if options.backend == "trio" and find_spec("trio") is None:
        parser.error("trio is not installed; install it: pip install 'anyio-workflows[trio]'")
    agent = ReActAgent(RecordedModel(REPLIES), [height, feet])
    try:
        anyio.run(converse, agent, options.questions, backend=options.backend)
    except KeyboardInterrupt:
        return 130
    except (TooManyRoundsError, LookupError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
