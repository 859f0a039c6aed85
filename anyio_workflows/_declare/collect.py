"""How a step with a ``list[E]`` parameter joins what a fan-out came to: ``Annotated[list[E], Collect(...)]``."""

from typing import Literal, get_args

import attrs

from .._errors import WorkflowValidationError

Order = Literal["arrival", "emission"]


@attrs.frozen
class All:
    """Join once everything that came of the fan-out is done, with every event that has arrived."""


@attrs.frozen
class Take:
    """Join as soon as *n* events have arrived, with these; with fewer, if everything is done before."""

    n: int
    """How many."""

    cancel_rest: bool = attrs.field(default=False, kw_only=True)
    """Cancel what is still in line or in work of the fan-out. Otherwise it goes on, and what comes of it is dropped."""

    def __attrs_post_init__(self) -> None:
        given: object = self.n
        if not isinstance(given, int) or isinstance(given, bool) or given < 1:
            raise WorkflowValidationError(
                f"Take({self.n!r}) takes no number of events; give an int of 1 or more"
            )
        if not isinstance(self.cancel_rest, bool):
            raise WorkflowValidationError(
                f"Take has cancel_rest={self.cancel_rest!r}; it must be True or False"
            )


@attrs.frozen
class Collect:
    """Which events a join is called with, and in which order; ``list[E]`` alone is ``Collect(All())``."""

    cardinality: All | Take = attrs.field(factory=All)
    """When to join."""

    order: Order = attrs.field(default="arrival", kw_only=True)
    """``"arrival"``: as they came. ``"emission"``: as the members of the fan-out stood in the list that opened it,
    whatever the order in which they were worked on."""

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.cardinality, All | Take):
            raise WorkflowValidationError(
                f"Collect({self.cardinality!r}) says nothing of when to join; give All() or Take(n)"
            )
        if self.order not in get_args(Order):
            raise WorkflowValidationError(
                f"Collect has order={self.order!r}; it must be 'arrival' or 'emission'"
            )

    @property
    def most(self) -> int | None:
        """Events that are enough, None for all."""
        return self.cardinality.n if isinstance(self.cardinality, Take) else None

    @property
    def cancels_rest(self) -> bool:
        """Whether what is left of the fan-out is cancelled then."""
        return isinstance(self.cardinality, Take) and self.cardinality.cancel_rest
