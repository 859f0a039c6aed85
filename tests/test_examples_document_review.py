"""examples/document_review.py, which asks a person, can be killed at any time, and goes on where it was."""

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest
from example_programs import EXAMPLES, called, command, environment, load, on_both_backends
from interrupting import press_ctrl_c

PROGRAM = EXAMPLES / "document_review.py"

DRIVER = dedent(
    """
    # Runs the example, notes what the model and the person do, and kills it at the place where it is told to.
    import os, runpy, signal, sys

    program, log, killed_at, *arguments = sys.argv[1:]
    example = runpy.run_path(program)
    main, model, from_lines = example["main"], example["RecordedModel"], example["from_lines"]

    def note(what):
        with open(log, "a") as file:
            file.write(f"{what}\\n")
        if what == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    class Model(model):
        async def write(self):
            note("write")
            return await super().write()

        async def revise(self, text, remark):
            note(f"revise: {remark}")
            return await super().revise(text, remark)

    def noted_lines(lines):
        answers = from_lines(lines)

        def answer(draft):
            note(f"read {draft}")
            return answers(draft)

        return answer

    main.__globals__.update(RecordedModel=Model, from_lines=noted_lines)
    sys.exit(main(arguments))
    """
)

DONE = ["write", "read 1", "revise: Shorter, please.", "read 2", "revise: Say when it happens.", "read 3"]
"""What the model and the person do if nothing goes wrong."""


@pytest.fixture
def review() -> ModuleType:
    return load("document_review")


@pytest.fixture(scope="module")
def uninterrupted() -> str:
    """What it prints if nobody kills it."""
    done = called(PROGRAM)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def lines(path: Path, *answers: str) -> Path:
    path.write_text("".join(f"{answer}\n" for answer in answers))
    return path


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("killed_at", ["write", "revise: Shorter, please.", "read 2"])
@on_both_backends
def test_killed_anywhere_and_started_again_it_does_only_what_was_being_done_again(
    backend: str, killed_at: str, uninterrupted: str, tmp_path: Path
) -> None:
    """Nothing that the model has written, and nothing that the person has answered, is asked for twice."""
    (driver := tmp_path / "driver.py").write_text(DRIVER)
    log, arguments = tmp_path / "log", ("--store", tmp_path / "runs.db", "--backend", backend)

    killed = called(driver, PROGRAM, log, killed_at, *arguments)
    resumed = called(driver, PROGRAM, log, "never", *arguments)
    again = called(driver, PROGRAM, log, "never", *arguments)

    assert (killed.returncode, resumed.returncode, again.returncode) == (-9, 0, 0), resumed.stderr
    last = DONE.index(killed_at)
    assert log.read_text().splitlines() == [*DONE[: last + 1], *DONE[last:]]
    assert uninterrupted.endswith(resumed.stdout)
    assert again.stdout == uninterrupted.splitlines(keepends=True)[-1]


@on_both_backends
def test_a_review_waits_in_the_store_for_its_next_answer(
    backend: str, review: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, answers = tmp_path / "runs.db", tmp_path / "answers.txt"

    def run(*given: str) -> tuple[int, str, str]:
        lines(answers, *given)
        code = review.main(["--store", str(store), "--answers", str(answers), "--backend", backend])
        return code, *capsys.readouterr()

    first = run()
    second = run("shorter", "")
    third = run("shorter", "Add a greeting.", "OK.")
    last = run()

    text = review.REVISIONS["shorter"]
    greeted = f"{text} [Nothing is recorded about the remark 'Add a greeting.'.]"
    again = "waits for its review; start it again to give it\n"
    assert first == (3, f"Draft 1: {review.FIRST_DRAFT}\n", f"draft 1 {again}")
    assert second == (
        3,
        f"Draft 1: {review.FIRST_DRAFT}\n> shorter\n\nDraft 2: {text}\n",
        f"draft 2 {again}",
    )
    assert third == (
        0,
        f"Draft 2: {text}\n> Add a greeting.\n\nDraft 3: {greeted}\n> OK.\n\nDraft 3 was approved: {greeted}\n",
        "",
    )
    assert last == (0, f"Draft 3 was approved: {greeted}\n", "")


@on_both_backends
def test_without_a_store_a_review_without_an_answer_is_lost(
    backend: str, review: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = lines(tmp_path / "answers.txt", "shorter")
    assert review.main(["--answers", str(answers), "--backend", backend]) == 3
    assert capsys.readouterr().err == "draft 2 waits for its review; the run is lost\n"


def test_after_the_last_draft_it_ends_without_an_approval(
    review: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = lines(tmp_path / "answers.txt", *["shorter"] * (review.MOST_DRAFTS + 1))
    assert review.main(["--answers", str(answers)]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"Draft {review.MOST_DRAFTS} was not approved: {review.REVISIONS['shorter']}"


@on_both_backends
def test_a_person_answers_at_the_terminal(backend: str) -> None:
    """Who says nothing is asked again; who leaves is not waited for."""
    done = called(PROGRAM, "--answers", "-", "--backend", backend, text="Shorter!\n\nok\n")
    left = called(PROGRAM, "--answers", "-", "--backend", backend, text="Shorter!\n")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Is draft 1 ok?") == 1
    assert done.stdout.count("Is draft 2 ok?") == 2
    assert done.stdout.splitlines()[-1].startswith("Draft 2 was approved: ")
    assert (left.returncode, left.stderr) == (3, "draft 2 waits for its review; the run is lost\n")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT for another process")
@on_both_backends
def test_ctrl_c_ends_it_while_a_person_is_asked(backend: str, tmp_path: Path) -> None:
    """The thread that reads cannot be interrupted: the program must not wait for it; the run can go on."""
    arguments = (PROGRAM, "--store", tmp_path / "runs.db", "--backend", backend)
    with subprocess.Popen(
        command(*arguments, "--answers", "-"),
        env=environment() | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        question = "Is draft 1 ok?"
        assert running.stdout.readline().startswith("Draft 1: ")
        assert running.stdout.read(len(question)) == question
        assert press_ctrl_c(running) == 130
    assert called(*arguments).returncode == 0


def test_runs_of_one_store_are_told_apart(
    review: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, answers = tmp_path / "runs.db", lines(tmp_path / "answers.txt", "ok")
    assert review.main(["--store", str(store), "--run-id", "one", "--answers", str(answers)]) == 0
    assert review.main(["--store", str(store), "--run-id", "two"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert f"Draft 1 was approved: {review.FIRST_DRAFT}" in printed
    assert printed[-1] == f"Draft 3 was approved: {review.REVISIONS['when']}"


def test_a_wrong_call_ends_with_2_and_says_what_is_wrong(
    review: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (wrong := tmp_path / "wrong.db").write_bytes(b"this is no database" * 100)
    assert review.main(["--store", str(wrong)]) == 2
    assert capsys.readouterr().err.startswith(f"checkpoint store {wrong}: ")
    monkeypatch.setattr(review, "find_spec", lambda name: None)
    for arguments, complaint in (
        (["--answers", str(tmp_path / "nowhere")], f"--answers {tmp_path / 'nowhere'}: "),
        (["--answers", str(wrong.with_suffix("")), "--backend", "curio"], "invalid choice: 'curio'"),
        (["--backend", "trio"], "anyio-workflows[trio]"),
    ):
        with pytest.raises(SystemExit) as exit_:
            review.main(arguments)
        assert exit_.value.code == 2
        assert complaint in capsys.readouterr().err
