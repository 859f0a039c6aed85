"""examples/agent.py, an agent that calls tools."""

from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any

import anyio
import pytest
from example_programs import load, on_both_backends

from anyio_workflows import WorkflowHandler

DONE = "Thought: Done.\nAnswer: {}"


@pytest.fixture
def agent() -> ModuleType:
    return load("agent")


@pytest.fixture
def asked(agent: ModuleType) -> Callable[..., WorkflowHandler]:
    """Return a function that asks 'go' of an agent with a recording and tools of the test's own."""

    def ask(replies: Mapping[str, str], *tools: Callable[..., Awaitable[str]]) -> WorkflowHandler:
        handler: WorkflowHandler = agent.ReActAgent(agent.RecordedModel(replies), tools).run(question="go")
        return handler

    return ask


def said(handler: WorkflowHandler, role: str = "user") -> list[str]:
    return [message.text for message in handler.state.messages if message.role == role]


async def test_tools_that_are_called_in_one_breath_run_at_once_and_are_read_in_the_order_of_the_calls(
    asked: Callable[..., WorkflowHandler],
) -> None:
    """The first waits for the second, which one worker, or one tool after the other, would never come to."""
    second_was_called = anyio.Event()

    async def first() -> str:
        await second_was_called.wait()
        return "1"

    async def second() -> str:
        second_was_called.set()
        return "2"

    handler = asked(
        {"go": "Action: first {}\nAction: second {}", "first gave 1\nsecond gave 2": DONE.format("both")},
        first,
        second,
    )
    with anyio.fail_after(5):
        answer = await handler
    assert (answer.text, answer.rounds) == ("both", 2)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("nothing {}", "nothing failed: there is no such tool; there are double"),
        ('double {"number": "x"}', "double failed: no number"),
        ('double {"what": 1}', "double failed: {raised}"),
        ("double {number}", "double failed: Expecting property name enclosed in double quotes: "),
    ],
)
async def test_what_is_wrong_with_a_call_is_told_to_the_model(
    call: str, told: str, agent: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def double(number: int) -> str:
        await anyio.lowlevel.checkpoint()
        if not isinstance(number, int):
            raise ValueError("no number")
        return str(2 * number)

    class Model(agent.RecordedModel):  # type: ignore[name-defined, misc]
        def stream(self, messages: Any) -> Any:
            if messages[-1].text != "go":
                self._replies = {messages[-1].text: DONE.format("never mind")}
            return super().stream(messages)

    handler = agent.ReActAgent(Model({"go": f"Action: {call}"}), [double]).run(question="go")
    with anyio.fail_after(5):
        assert (await handler).text == "never mind"
    raised = "test_what_is_wrong_with_a_call_is_told_to_the_model.<locals>.double() got an unexpected keyword"
    assert said(handler)[1].startswith(told.format(raised=raised))


async def test_a_tool_that_fails_beside_another_leaves_its_result_alone(
    asked: Callable[..., WorkflowHandler],
) -> None:
    async def good() -> str:
        return "all"

    async def bad() -> str:
        raise RuntimeError("broken")

    handler = asked(
        {"go": "Action: bad {}\nAction: good {}", "bad failed: broken\ngood gave all": DONE.format("so so")},
        good,
        bad,
    )
    with anyio.fail_after(5):
        assert (await handler).text == "so so"


async def test_a_tool_whose_connection_breaks_is_called_again(asked: Callable[..., WorkflowHandler]) -> None:
    calls = 0

    async def page() -> str:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise ConnectionError("reset")
        return "text"

    handler = asked({"go": "Action: page {}", "page gave text": DONE.format("read")}, page)
    with anyio.fail_after(5):
        assert (await handler).text == "read"
    assert calls == 3


async def test_a_tool_may_fail_in_every_round_and_the_agent_gives_up_after_the_last(
    agent: ModuleType, asked: Callable[..., WorkflowHandler]
) -> None:
    """Each failure is handled, as often as there are rounds: what ends the run is not the tool's error."""
    calls = 0

    async def bad() -> str:
        nonlocal calls
        calls += 1
        raise RuntimeError("broken")

    handler = asked({"go": "Action: bad {}", "bad failed: broken": "Action: bad {}"}, bad)
    with (
        anyio.fail_after(5),
        pytest.raises(agent.TooManyRoundsError, match=f"no answer in {agent.MOST_ROUNDS} rounds"),
    ):
        await handler
    assert calls == agent.MOST_ROUNDS
    assert said(handler) == ["go", *["bad failed: broken"] * agent.MOST_ROUNDS]


async def test_a_reply_without_action_and_answer_is_answered_with_what_to_write(
    asked: Callable[..., WorkflowHandler],
) -> None:
    told = "Write 'Action: tool {JSON}' or 'Answer: ...' after your thought."
    handler = asked({"go": "Hm.", told: DONE.format("that")})
    with anyio.fail_after(5):
        assert (await handler).text == "that"
    assert said(handler) == ["go", told]
    assert said(handler, "assistant") == ["Hm.", DONE.format("that")]


async def test_what_the_model_writes_is_streamed_word_by_word(
    agent: ModuleType, asked: Callable[..., WorkflowHandler]
) -> None:
    with anyio.fail_after(5):
        async with asked({"go": "Thought: Easy.\nAnswer: 42"}) as handler:
            events = [event async for event in handler.stream_events()]
    deltas = [event.delta for event in events if isinstance(event, agent.StreamEvent)]
    assert deltas == ["Thought:", " Easy.", "\nAnswer:", " 42"]


async def test_a_second_question_is_asked_with_the_memory_of_the_first(
    agent: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """And its rounds are counted anew."""
    prompts = []

    class Model(agent.RecordedModel):  # type: ignore[name-defined, misc]
        def stream(self, messages: Any) -> Any:
            prompts.append([message.text for message in messages[1:]])
            return super().stream(messages)

    with anyio.fail_after(5):
        await agent.converse(
            agent.ReActAgent(Model({"one": "Answer: 1", "two": "Answer: 2"}), []), ["one", "two"]
        )
    assert prompts == [["one"], ["one", "Answer: 1", "two"]]
    assert (
        capsys.readouterr().out == "You: one\nAnswer: 1\n(rounds: 1)\n\nYou: two\nAnswer: 2\n(rounds: 1)\n\n"
    )


def test_the_model_is_told_of_the_tools(agent: ModuleType) -> None:
    system = agent.ReActAgent(agent.RecordedModel({}), [agent.height, agent.feet]).system.text
    assert system.splitlines()[1:] == [
        "- height: Give the height of a mountain.",
        "- feet: Convert metres into feet.",
    ]


@on_both_backends
def test_a_question_that_was_not_recorded_ends_with_1(
    backend: str, agent: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert agent.main(["Why?", "--backend", backend]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("You: Why?\n", "the recording has no reply to 'Why?'\n")


def test_without_trio_it_says_what_to_install(
    agent: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agent, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as exit_:
        agent.main(["--backend", "trio"])
    assert exit_.value.code == 2
    assert "anyio-workflows[trio]" in capsys.readouterr().err


def test_a_keyboard_interrupt_ends_with_130(agent: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(agent, "converse", interrupted)
    assert agent.main([]) == 130
