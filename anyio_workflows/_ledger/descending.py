"""A ledger that knows what each event has come of: fan-outs and the joins that close them, errors and their handlers.

A step that returns a list opens a fan-out: every delivery that comes of a member, by whatever way, belongs to it. When
none of them is pending any more, the joins are called with what has come to them, and what they give belongs to where
the list itself came from.
"""

from collections.abc import Mapping
from typing import Any

from .._brief import brief
from .._errors import WorkflowRuntimeError
from .._events import Event, EventList, StepFailedEvent
from .delivery import Delivery
from .ledger import Ledger
from .lineage import NO_RECOVERIES, FanOut, Lineage, Member, largest
from .meeting import Meetings, Table, table_of
from .plan import Node
from .returned import check_bare, check_list


class DescendingLedger(Ledger):
    """A ledger in which every delivery has its lineage."""

    __slots__ = ("_committing", "_lineage", "fan_outs", "meetings")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lineage: Lineage | None = None
        """Of the events that are being routed."""
        self._committing: Delivery | None = None
        """Whose output is being routed."""
        self.fan_outs: dict[int, FanOut] = {}
        """Those that are open, by id."""
        self.meetings: Meetings = Meetings()

    # --- what events come of

    def emit(
        self,
        event: Event,
        step: str | None = None,
        *,
        source: str = "the run",
        sender: Delivery | None = None,
    ) -> bool:
        """Route *event* as any ledger does; what comes of it has the lineage of *sender*."""
        before = self._lineage
        if sender is not None:
            self._lineage = self._lineage_below(sender)
        try:
            if step is not None:
                self._check_target(event, step, source)
            return self._route(event, step, source, sender)
        finally:
            self._lineage = before

    def _route(self, event: Event, step: str | None, source: str, sender: Delivery | None) -> bool:
        return super().emit(event, step, source=source, sender=sender)

    def _check_target(self, event: Event, step: str, source: str) -> None:
        node = self.plan.node(step)
        is_joined = node.joins is not None and node.declaration.takes(type(event))
        if is_joined and self._fan_out_of(node)[0] is None:
            raise WorkflowRuntimeError(
                f"{source} sent {brief(event)} to step {step!r}, which joins what has come of a fan-out, and this has "
                f"come of none that leads there; send it from a step that works on a member"
            )

    def _lineage_below(self, delivery: Delivery) -> Lineage | None:
        """Return the lineage of the next event that *delivery* gives."""
        lineage = delivery.lineage
        recoveries = self._recoveries(delivery)
        if lineage is None or lineage.fan_out is None:
            return Lineage(None, (), recoveries) if recoveries else None
        place = delivery.outputs
        delivery.outputs += 1
        return Lineage(lineage.fan_out, (*lineage.rank, place), recoveries)

    @staticmethod
    def _recoveries(delivery: Delivery) -> Mapping[str, int]:
        """Return how often handlers were called on the way to *delivery* and to what it has taken from collections."""
        own = NO_RECOVERIES if delivery.lineage is None else delivery.lineage.recoveries
        if not delivery.took:
            return own
        taken = [entry.recoveries for _, batch in delivery.took for entry in batch if entry.recoveries]
        return largest([own, *taken]) if taken else own

    def _deliver(self, index: int, event: Event) -> None:
        node = self.plan.nodes[index]
        if node.joins is not None:
            self._gather(node, event)
        elif node.slots:
            self._fill_slot(node, event)
        else:
            self._deliver_here(index, event)

    def _deliver_here(self, index: int, event: Event) -> None:
        lineage = self._lineage
        fan_out = None if lineage is None else lineage.fan_out
        if fan_out is not None and fan_out.is_cancelled:
            return
        super()._deliver(index, event)
        delivery = self.pending[self._number]
        delivery.lineage = lineage
        if fan_out is not None:
            fan_out.pending[delivery.number] = delivery
        self._delivered(delivery)

    def _delivered(self, delivery: Delivery) -> None:
        """*delivery* was made, and has its lineage."""

    def _end(self, delivery: Delivery) -> None:
        super()._end(delivery)
        if delivery.lineage is not None and delivery.lineage.fan_out is not None:
            fan_out = delivery.lineage.fan_out
            del fan_out.pending[delivery.number]
            self._close_if_done(fan_out)

    def withdraw(self, delivery: Delivery) -> None:
        """End the execution of *delivery*, by which the run ends: nothing is joined by that."""
        self._undo(delivery)
        super()._end(delivery)

    # --- fan-outs

    def commit(self, delivery: Delivery, output: Event | list[Event] | None) -> bool:
        """End the execution of *delivery* as any ledger does; a list opens a fan-out.

        Raises:
            WorkflowRuntimeError: *output* is not what the step is annotated to return, as far as lists are concerned;
                or it is no event. The execution has not ended: `withdraw` it.
        """
        if delivery.is_cancelled:
            return super().commit(delivery, None)
        self._committing = delivery
        try:
            if isinstance(output, list):
                check_list(delivery.desk.node, output)
                return self._fan_out(delivery, output)
            if output is not None:
                check_bare(delivery.desk.node, output)
                self._lineage = self._lineage_below(delivery)
            return super().commit(delivery, output)
        finally:
            self._lineage = self._committing = None

    def _fan_out(self, delivery: Delivery, members: list[Event]) -> bool:
        lineage = self._lineage_below(delivery)
        self._number += 1
        fan_out = FanOut(self._number, delivery.desk.node.index, lineage)
        fan_out.is_filling = True
        self._open(fan_out)
        self._opened_fan_out(fan_out, delivery)
        recoveries = NO_RECOVERIES if lineage is None else lineage.recoveries
        for place, member in enumerate(members):
            self._lineage = Lineage(fan_out, (place,), recoveries)
            if self.emit(member, source=f"step {delivery.desk.node.name!r}"):
                self._end(delivery)
                return True
        self._lineage = None
        fan_out.is_filling = False
        self._close_if_done(fan_out)
        self._end(delivery)
        return False

    def _open(self, fan_out: FanOut) -> None:
        self.fan_outs[fan_out.id] = fan_out
        if fan_out.parent is not None:
            fan_out.parent.inner[fan_out.id] = fan_out

    def _opened_fan_out(self, fan_out: FanOut, delivery: Delivery) -> None:
        """*delivery* has returned a list."""

    def _close_if_done(self, fan_out: FanOut) -> None:
        """Close *fan_out* if nothing of it is left, and those around it if it was the last of them."""
        around: FanOut | None = fan_out
        while around is not None and around.is_done:
            up = around.parent
            for step, member in self.meetings.leave(around.id):
                self._keep_unhandled(member.event, self.plan.nodes[step].name, is_answer=False)
            for join in self.plan.joins_of[around.producer]:
                if join not in around.joined:
                    self._join(around, join)
            del self.fan_outs[around.id]
            self._closed_fan_out(around)
            if up is not None:
                del up.inner[around.id]
            around = up

    def _closed_fan_out(self, fan_out: FanOut) -> None:
        """Nothing of *fan_out* is left."""

    def _fan_out_of(self, node: Node) -> tuple[FanOut | None, tuple[int, ...]]:
        """Return the fan-out that *node* joins and the current event belongs to, with its place there."""
        lineage = self._lineage
        rank: tuple[int, ...] = ()
        while lineage is not None and lineage.fan_out is not None:
            rank = (*lineage.rank, *rank)
            if node.index in self.plan.joins_of[lineage.fan_out.producer]:
                return lineage.fan_out, rank
            lineage = lineage.fan_out.lineage
        return None, ()

    def _gather(self, node: Node, event: Event) -> None:
        """Keep *event* until *node* joins."""
        fan_out, rank = self._fan_out_of(node)
        if fan_out is None:
            self._keep_unhandled(event, node.name, is_answer=False)
            return
        if node.index in fan_out.joined:
            return
        assert node.joins is not None, "it joins"
        member = self._member(event, rank)
        gathered = fan_out.gathered.setdefault(node.index, [])
        gathered.append(member)
        self._gathered(fan_out, node, member)
        if len(gathered) == node.joins.most:
            self._join(fan_out, node.index)
            if node.joins.cancels_rest:
                self.cancel_fan_out(fan_out, f"step {node.name!r} has taken {node.joins.most} of it")

    def _member(self, event: Event, rank: tuple[int, ...]) -> Member:
        return Member(event, rank, NO_RECOVERIES if self._lineage is None else self._lineage.recoveries)

    def _gathered(self, fan_out: FanOut, node: Node, member: Member) -> None:
        """*member* has come to *node*."""

    def _join(self, fan_out: FanOut, join: int) -> None:
        """Call the step at *join* with what has come of *fan_out*."""
        node = self.plan.nodes[join]
        members = fan_out.gathered.pop(join, [])
        fan_out.joined.add(join)
        if node.joins is not None and node.joins.order == "emission":
            members.sort(key=lambda member: member.rank)
        up = fan_out.lineage
        recoveries = largest(
            [*(member.recoveries for member in members), up.recoveries if up else NO_RECOVERIES]
        )
        before = self._lineage
        if up is not None and up.fan_out is not None:
            place = self.plan.joins_of[fan_out.producer].index(join)
            self._lineage = Lineage(up.fan_out, (*up.rank, place), recoveries)
        else:
            self._lineage = Lineage(None, (), recoveries) if recoveries else None
        try:
            self._joined(fan_out, node)
            self._deliver_here(join, EventList(events=tuple(member.event for member in members)))
        finally:
            self._lineage = before

    def _joined(self, fan_out: FanOut, node: Node) -> None:
        """*node* is about to be called with what has come of *fan_out*."""

    def cancel_fan_out(self, fan_out: FanOut, reason: str) -> int:
        """Cancel everything that has come of *fan_out* and is in line or in work; return how many.

        Except the execution whose output has made it so, which is done.
        """
        reached = [fan_out]
        for each in reached:  # it grows: a recursive workflow may be deeper than Python's stack
            each.is_cancelled = True
            self._cancelled_fan_out(each)
            reached += each.inner.values()
        found = [delivery for each in reached for delivery in each.pending.values()]
        found.sort(key=lambda delivery: delivery.number)
        return sum(self.cancel(delivery, reason) for delivery in found if delivery is not self._committing)

    def _cancelled_fan_out(self, fan_out: FanOut) -> None:
        """Nothing is worked on in *fan_out* any more."""

    def cancel_fan_outs(self, producer: int, reason: str) -> int:
        """Cancel everything that has come of the lists of the step at *producer*; return how many deliveries."""
        open_ones = [fan_out for fan_out in self.fan_outs.values() if fan_out.producer == producer]
        return sum(self.cancel_fan_out(fan_out, reason) for fan_out in open_ones)

    # --- several event parameters

    def _fill_slot(self, node: Node, event: Event) -> None:
        """Keep *event* until there is one for each parameter: of the same member, if it belongs to a fan-out."""
        lineage = self._lineage
        table = table_of(lineage)
        member = self._member(event, () if lineage is None else lineage.rank)
        place = self.meetings.add(node, table, member)
        self._waits_for_others(node, table, place, member)
        members = self.meetings.take(node, table)
        if members is None:
            return
        recoveries = largest(member.recoveries for member in members)
        if lineage is not None and lineage.fan_out is not None:
            self._lineage = Lineage(lineage.fan_out, members[0].rank, recoveries)
        else:
            self._lineage = Lineage(None, (), recoveries) if recoveries else None
        try:
            self._meet(node, table, members)
        finally:
            self._lineage = lineage

    def _waits_for_others(self, node: Node, table: Table, place: int, member: Member) -> None:
        """*member* has come for the parameter at *place*."""

    def _meet(self, node: Node, table: Table, members: list[Member]) -> None:  # noqa: ARG002  # a recorded ledger's
        """Call *node* with *members*, one for each parameter."""
        self._deliver_here(node.index, EventList(events=tuple(member.event for member in members)))

    # --- errors

    def handler_for(self, delivery: Delivery) -> int | None:
        """Return the place of the handler that is called if *delivery* fails, None if there is none or not any more."""
        handler = self.plan.handler_of.get(delivery.desk.node.index)
        if handler is None:
            return None
        node = self.plan.nodes[handler]
        assert node.declaration.handles is not None, "it is a handler"
        has_been_called = self._recoveries(delivery).get(node.name, 0)
        return handler if has_been_called < node.declaration.handles.max_recoveries else None

    def recover(self, delivery: Delivery, handler: int, failure: StepFailedEvent) -> None:
        """Call the step at *handler* in the place of *delivery*, which has failed for good."""
        lineage = self._lineage_below(delivery)
        name = self.plan.nodes[handler].name
        recoveries = dict(self._recoveries(delivery))
        recoveries[name] = recoveries.get(name, 0) + 1
        self._undo(delivery)
        fan_out, rank = (None, ()) if lineage is None else (lineage.fan_out, lineage.rank)
        self._lineage = Lineage(fan_out, rank, recoveries)
        try:
            self._recovering(delivery, failure)
            self._deliver_here(handler, failure)
        finally:
            self._lineage = None
        self._end(delivery)

    def _recovering(self, delivery: Delivery, failure: StepFailedEvent) -> None:
        """A handler is about to be called."""

    # --- at rest

    def _half_full(self) -> list[str]:
        lines = super()._half_full()
        for fan_out in self.fan_outs.values():
            producer = self.plan.nodes[fan_out.producer].name
            for join, members in fan_out.gathered.items():
                name = self.plan.nodes[join].name
                lines.append(f"step {name!r} has {len(members)} of what step {producer!r} fanned out")
        lines += self.meetings.lines(self.plan.nodes)
        return lines
