"""Say what a run was left with when nothing in it moves: the text of a stall."""

import attrs

MOST_LINES = 20
"""Lines of one kind in the text; a fan-out of 10,000 must not print 10,000 of them."""


@attrs.frozen(kw_only=True)
class StallReport:
    """What a run waits for, or was left with when it could no longer go on."""

    collections: tuple[str, ...] = ()
    """Collections that hold events but are not complete: ``step 'combine' has 2 of 3 ResultEvent``."""

    pending: tuple[str, ...] = ()
    """Deliveries in line or in work, with what blocks them."""

    waits: tuple[str, ...] = ()
    """Waits that no event has answered."""

    unconsumed: tuple[str, ...] = ()
    """Events that nothing accepted, and answers that nothing asked for."""

    is_waiting_for_human: bool = False
    """Whether a human may still answer."""

    unnamed: int = 0
    """Further deliveries and waits, which are not named here."""

    def __str__(self) -> str:
        """Return a line for each."""
        lines = [*_cut(self.collections), *_cut(self.pending), *_cut(self.waits), *_cut(self.unconsumed)]
        if self.is_waiting_for_human:
            lines.append("a human may still answer: more prompts were published than answers received")
        if self.unnamed:
            lines.append(f"and {self.unnamed} further deliveries and waits")
        if not lines:
            lines.append("every step has returned and no event is left; no step returned or sent a StopEvent")
        return "\n".join(f"  {line}" for line in lines)


def _cut(lines: tuple[str, ...]) -> tuple[str, ...]:
    if len(lines) <= MOST_LINES:
        return lines
    return (*lines[:MOST_LINES], f"and {len(lines) - MOST_LINES} more like these")
