"""The command line asks the human who sits at it."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent
from typing import IO

import pytest
from interrupting import press_ctrl_c

from anyio_workflows.cli import main

on_both_backends = pytest.mark.parametrize("backend", ["asyncio", "trio"])

FLOWS = dedent(
    """
    import anyio
    from anyio_workflows import (
        Context, Event, HumanResponseEvent, InputRequiredEvent, StartEvent, StopEvent, Workflow, step,
    )

    class Greeting(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(**ev.get("prompt", {"prefix": "Your name?"}))

        @step
        async def greet(self, ev: HumanResponseEvent) -> StopEvent:
            return StopEvent(result=f"Hello, {ev.response}!")

    class Dialogue(Workflow):
        @step
        async def talk(self, ctx: Context, ev: StartEvent) -> StopEvent:
            answers = []
            for question in ("one:\\n", "two: "):
                answer = await ctx.wait_for_event(
                    HumanResponseEvent, waiter_event=InputRequiredEvent(question=question)
                )
                answers.append(answer.response)
            return StopEvent(result=answers)

    class Together(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> InputRequiredEvent:
            ctx.send_event(InputRequiredEvent(msg="first?"))
            return InputRequiredEvent(msg="second?")

        @step
        async def combine(self, ctx: Context, ev: HumanResponseEvent) -> StopEvent | None:
            both = ctx.collect_events(ev, [HumanResponseEvent] * 2)
            return StopEvent(result=[answer.response for answer in both]) if both else None

    class Said(HumanResponseEvent):
        response: str

    class Chosen(HumanResponseEvent):
        number: int

    class Typed(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prefix="what?")

        @step
        async def note(self, ev: Chosen | Said) -> StopEvent:
            return StopEvent(result=type(ev).__name__ + " " + ev.response)

    class Unanswerable(Workflow):
        @step
        async def ask(self, ev: StartEvent) -> InputRequiredEvent:
            return InputRequiredEvent(prefix="which?")

        @step
        async def note(self, ev: Chosen) -> StopEvent:
            return StopEvent(result=ev.number)

    class Impatient(Workflow):
        @step
        async def ask(self, ctx: Context, ev: StartEvent) -> StopEvent:
            try:
                await ctx.wait_for_event(
                    HumanResponseEvent, waiter_event=InputRequiredEvent(prefix="quick?"), timeout=0.05
                )
            except TimeoutError:
                return StopEvent(result="too late")
    """
)


@pytest.fixture(autouse=True)
def flows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "asking.py").write_text(FLOWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    sys.modules.pop("asking", None)


Typist = Callable[[str], IO[str]]


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Typist]:
    """Return a function that makes what a human types the standard input, a pipe that stays open."""
    pipes: list[IO[str]] = []

    def type_(text: str) -> IO[str]:
        reading, writing = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), "rw", strict=True))
        pipes.extend((reading, writing))
        monkeypatch.setattr(sys, "stdin", reading)
        writing.write(text)
        writing.flush()
        return writing

    yield type_
    # The writing end first: a thread that still reads gets to its end.
    for pipe in reversed(pipes):
        pipe.close()


@on_both_backends
def test_a_prompt_is_shown_and_the_answer_is_sent(
    backend: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("Zoë\n")
    assert main(["run", "asking:Greeting", "--backend", backend]) == 0
    assert capsys.readouterr() == ("Hello, Zoë!\n", "Your name? ")


@pytest.mark.parametrize(
    ("prompt", "shown"),
    [
        ('{"msg": "Who?"}', "Who? "),
        ('{"question": "Who? "}', "Who? "),
        ('{"prefix": 7}', "7 "),
        ('{"colour": "red"}', "InputRequiredEvent(colour='red') "),
    ],
)
def test_the_words_of_a_prompt_are_looked_for_in_the_fields_that_usually_hold_them(
    prompt: str, shown: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("me\n")
    assert main(["run", "asking:Greeting", f"prompt={prompt}"]) == 0
    assert capsys.readouterr().err == shown


@on_both_backends
def test_waits_within_a_step_are_answered_line_by_line(
    backend: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    """The graph knows of no answer here; and no line may be swallowed together with the one before it."""
    typed("first\nsecond\r\n")
    assert main(["run", "asking:Dialogue", "--backend", backend]) == 0
    assert capsys.readouterr() == ('["first", "second"]\n', "one:\ntwo: ")


@on_both_backends
def test_prompts_that_come_together_are_asked_one_after_the_other(
    backend: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("a\nb\n")
    assert main(["run", "asking:Together", "--backend", backend]) == 0
    assert capsys.readouterr() == ('["a", "b"]\n', "first? second? ")


def test_on_a_terminal_the_table_of_steps_gives_way_to_the_prompt(
    typed: Typist, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    typed("Zoë\n")
    assert main(["run", "asking:Greeting"]) == 0
    shown = capsys.readouterr().err
    before, after = shown.split("Your name? ")
    assert "running" in before
    assert "running" in after


def test_an_answer_is_of_the_subclass_that_takes_a_response(
    typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("this\n")
    assert main(["run", "asking:Typed"]) == 0
    assert capsys.readouterr().out == "Said this\n"


@on_both_backends
def test_a_run_that_takes_no_line_of_text_as_an_answer_ends_with_1_before_it_asks(
    backend: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("7\n")
    assert main(["run", "asking:Unanswerable", "--backend", backend]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: Unanswerable asks for input, but takes only Chosen")
    assert "which?" not in told


@on_both_backends
def test_a_question_after_the_end_of_the_input_ends_with_1(
    backend: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("only one\n").close()
    assert main(["run", "asking:Dialogue", "--backend", backend]) == 1
    assert "error: Dialogue asks for input, and standard input has ended" in capsys.readouterr().err


@pytest.mark.parametrize("stdin", [None, io.StringIO("in memory\n")])
def test_a_question_without_a_standard_input_ends_with_1(
    stdin: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert main(["run", "asking:Greeting"]) == 1
    assert "standard input has ended" in capsys.readouterr().err


@on_both_backends
def test_a_run_that_ends_while_it_asks_does_not_wait_for_the_human(
    backend: str, typed: Typist, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("")
    assert main(["run", "asking:Impatient", "--backend", backend]) == 0
    assert capsys.readouterr().out == "too late\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no signal does there what Ctrl-C does")
@on_both_backends
def test_ctrl_c_ends_a_program_whose_question_is_open(backend: str) -> None:
    """Neither the thread that reads nor the buffer of stdin keeps the interpreter from its end."""
    asked = [sys.executable, "-m", "anyio_workflows.cli", "run", "asking:Greeting", "--backend", backend]
    pipe = subprocess.PIPE
    with subprocess.Popen(asked, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as running:
        assert running.stderr is not None
        assert running.stderr.read(len("Your name? ")) == "Your name? "
        # Not communicate(), which would close stdin, and so end the thread that reads it.
        assert press_ctrl_c(running) == 130
        assert running.stderr.read() == "interrupted\n"
