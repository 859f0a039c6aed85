"""docs/examples.md shows what the programs print."""

import re

import pytest
from example_programs import ROOT, called, on_both_backends

PAGE = ROOT / "docs" / "examples.md"
SHOWN = re.findall(
    r"^```sh\npython ([^\n]+)\n```\n```text\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
)


def test_every_program_that_has_a_section_is_run() -> None:
    sections = re.findall(r"^\| \[`(\w+\.py)`\]\(#", PAGE.read_text(), re.MULTILINE)
    assert sections == [command.split()[0].removeprefix("examples/") for command, _ in SHOWN]
    assert len(sections) == 3


@pytest.mark.parametrize(
    ("command", "output"), SHOWN, ids=[command.split()[0].removeprefix("examples/") for command, _ in SHOWN]
)
@on_both_backends
def test_a_program_prints_what_the_page_shows(backend: str, command: str, output: str) -> None:
    """If it fails, paste the new output."""
    done = called(*command.split(), "--backend", backend)
    assert (done.stderr, done.stdout.rstrip()) == ("", output.rstrip())
