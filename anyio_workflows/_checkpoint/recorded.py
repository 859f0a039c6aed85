"""A ledger that notes what it does, so that the run can go on from any moment of it.

What an execution in work has done is kept with its delivery until it commits. When that runs again, in a run that
goes on from a checkpoint, what it does is matched with what was kept: it happens once.
"""

from collections.abc import Callable, Mapping
from typing import Any

from .._brief import brief
from .._errors import CheckpointError
from .._events import Event, EventList
from .._ledger.attempts import Attempt
from .._ledger.collecting import Expected
from .._ledger.delivery import Delivery, Desk, Failure
from .._ledger.plan import Plan
from .._ledger.returned import check_list
from .._ledger.state import RunState
from .._ledger.waiting import Wait
from .history import History
from .recorded_descent import RecordedDescent
from .snapshot import ABSENT, Document, Operation
from .writing import Writer, known_events, written_name_of


class RecordedLedger(RecordedDescent):
    """A ledger with a history."""

    __slots__ = (
        "_arrivals",
        "_event_types",
        "_has_end",
        "_held",
        "_repeating",
        "_state_documents",
        "delayed",
        "history",
        "holds",
        "restored_at",
        "run_id",
    )

    def __init__(
        self,
        plan: Plan,
        publish: Callable[[Event], None],
        desk_type: Callable[..., Desk],
        converter: Writer,
        *,
        history: History,
        run_id: str,
    ) -> None:
        super().__init__(plan, publish, desk_type, converter=converter, note=history.operations.append)
        self.history: History = history
        self.run_id: str = run_id
        self._event_types = {written_name_of(event): event for event in known_events(plan)}
        self._arrivals = 0
        self._state_documents: dict[str, Document] = {}
        self._repeating: list[Attempt] = []
        """Records with changes of the state that an earlier attempt has made."""
        self.holds: bool = False
        """Whether what a commit delivers may not begin before that commit is on disk."""
        self._held: list[Delivery] | None = None
        self._has_end = False
        self.restored_at: float = 0.0
        """When the run was cut that it goes on from, in seconds UTC."""
        self.delayed: list[tuple[Delivery, float]] = []
        """Deliveries whose next attempt is due at a time, in seconds UTC, when the run goes on."""

    # --- events

    def _route(self, event: Event, step: str | None, source: str, sender: Delivery | None) -> bool:
        """Route *event* as any ledger does, unless an earlier attempt of *sender* has sent it."""
        route = self.plan.route(event, source=source)
        if sender is not None and sender.record.has_sent(step, event):
            return False
        parent = self._committing if sender is None else sender
        self._note_cause(event, step, parent)
        if sender is not None:
            self._note_given_up(sender)
        self._document = document = self._converter.unstructure_event(event)
        stops = self._emit_with_care(event, route, step, source)
        if parent is not None:
            parent.record.count_output(step, event)
        if sender is not None:
            sender.record.note_sent(step, event)
        if stops and self._has_end:
            return False  # one that was given before is on its way to the disk, and will end the run
        if stops:
            self._has_end = True
            self._note(["end", document])
        elif sender is not None:
            self._note(["send", sender.number, step, document])
        return stops

    def _note_cause(self, event: Event, target: str | None, parent: Delivery | None) -> None:
        """Say what delivers *event*: its place among the outputs of *parent* of its class and target, never a counter."""
        if parent is None:  # from outside
            self._cause = f"{self.run_id}/{self._arrivals}"
            self._arrivals += 1
            self._note(["arrive"])
            return
        record: Attempt = parent.record
        kind = type(event).__qualname__
        self._cause = f"{record.key}/{kind}/{target}/{record.output_index(target, event)}"

    def publish_prompt(self, event: Event, sender: Delivery | None) -> None:
        """Put a question on the stream, unless it stands there since an earlier attempt."""
        if sender is not None:
            self._note_given_up(sender)
        self._document = self._converter.unstructure_event(event)  # before anybody can read it
        super().publish_prompt(event, sender)

    def _asked(self, event: Event, sender: Delivery | None) -> None:
        super()._asked(event, sender)
        self._note(["prompt", None if sender is None else sender.number, self.prompts, self._document])

    def receive_response(self) -> None:
        """Count the answer of a human."""
        super().receive_response()
        self._note(["response"])

    # --- executions

    def _begin_again(self, delivery: Delivery, failure: Failure, due: float | None) -> list[int]:
        self._note_given_up(delivery)
        unanswered = super()._begin_again(delivery, failure, due)
        about = {
            "attempt": delivery.attempt + 1,
            "due": due,
            "began": failure.began,
            "failed_at": failure.at,
            "error": [type(failure.error).__qualname__, brief(failure.error)],
        }
        self._note(["retry", delivery.number, about, unanswered])
        return unanswered

    def retry(self, delivery: Delivery, failure: Failure, due: float | None) -> None:
        """Have *delivery* worked on again, with a cut from which its next attempt is made."""
        super().retry(delivery, failure, due)
        self.history.cut()

    def commit(self, delivery: Delivery, output: Event | list[Event] | None) -> bool:
        """End the execution of *delivery*: the history has a cut at which its output is pending and its input not."""
        if delivery.is_cancelled:
            return super().commit(delivery, None)
        record: Attempt = delivery.record
        whole = None
        if isinstance(output, list):
            check_list(delivery.desk.node, output)
            whole = self._converter.unstructure_event(EventList(events=tuple(output)))
        self._held = [] if self.holds else None
        try:
            stops = super().commit(delivery, output)
        except BaseException:
            self._held = None
            raise
        self._leave_waits(delivery)
        self._note(["commit", delivery.number])
        given = whole or (None if output is None else self._document)
        self.history.cut(delivery.desk.node.name, record.event, given)
        return stops

    def _leave_waits(self, delivery: Delivery) -> None:
        record: Attempt = delivery.record
        waits, record.waits = record.waits or {}, None
        for wait in waits.values():
            self.give_back(wait)
            self.close_wait(wait)
        self._note_given_up(delivery)

    def _cut(self) -> None:
        self.history.cut()

    def _line_up(self, delivery: Delivery) -> None:
        if self._held is None:
            super()._line_up(delivery)
        else:
            self.pending[delivery.number] = delivery
            self._held.append(delivery)

    def _hold(self, delivery: Delivery) -> None:
        """Let *delivery* be pending, and stand in no line yet."""
        self.pending[delivery.number] = delivery
        delivery.desk.pending += 1

    def take_held(self) -> list[Delivery]:
        """Return what the last commit has delivered, which stands in no line yet."""
        held, self._held = self._held or [], None
        return held

    def release(self, held: list[Delivery]) -> None:
        """Let *held* stand in line: what made them is on disk."""
        for delivery in held:
            super()._line_up(delivery)

    def freeze(self) -> None:
        """Note nothing any more: the run is decided, and what clean-ups do is not to be gone on from.

        An execution that was in work then stays pending, as it was when its run was cancelled.
        """
        self.history.cut_if_new()
        self._note = _nothing

    # --- collections

    def collect(
        self, delivery: Delivery, event: Event, expected: Expected[Any], buffer_id: str | None
    ) -> list[Any] | None:
        """Collect as any ledger does; what an earlier attempt added, and another execution took, is not added again."""
        were_put, were_taken = len(delivery.put or ()), len(delivery.took or ())
        given = super().collect(delivery, event, expected, buffer_id)
        if delivery.put is not None and len(delivery.put) > were_put:
            entry = delivery.put[-1][1]
            same = event is delivery.event
            document = delivery.record.event if same else self._converter.unstructure_event(event)
            self._note(["put", delivery.number, buffer_id, entry.place, document])
        if delivery.took is not None and len(delivery.took) > were_taken:
            self._note(["take", delivery.number, buffer_id, [entry.place for entry in delivery.took[-1][1]]])
        return given

    # --- waits

    def open_wait(
        self,
        delivery: Delivery,
        event_type: type[Event],
        *,
        requirements: Mapping[str, Any] | None,
        waiter_id: str | None,
        timeout: float | None = None,
    ) -> Wait:
        """Open a wait, or go on with the one that an earlier attempt had at this place, or with its answer."""
        self._note_given_up(delivery)
        return super().open_wait(
            delivery, event_type, requirements=requirements, waiter_id=waiter_id, timeout=timeout
        )

    def _check_wait(self, event_type: type[Event], requirements: Mapping[str, Any] | None) -> None:
        self._check_known(event_type)
        self._written(requirements)

    def _written(self, requirements: Mapping[str, Any] | None) -> Document:
        return self._converter.unstructure_value(dict(requirements or {}), where="requirements")

    def _opened(self, wait: Wait) -> None:
        if wait.answer is not None:
            self._note(["late_question", wait.answer_number])
        else:
            self._note_wait(wait, self._written(wait.requirements))
        super()._opened(wait)

    def _check_known(self, event_type: type[Event]) -> None:
        if event_type not in self._event_types.values():
            name = event_type.__qualname__
            raise CheckpointError(
                f"the workflow does not know the type of event that is waited for; give "
                f"Workflow(extra_events=[{name}])",
                name,
            )

    def _note_wait(self, wait: Wait, required: Document) -> None:
        opened = {
            "number": wait.number,
            "type": written_name_of(wait.event_type),
            "requirements": required,
            "left": wait.timeout,
            "at": self.history.clock(),
            "prompts": wait.prompts,
        }
        self._note(["wait", wait.delivery.number, wait.key, opened])

    def _answered(self, wait: Wait) -> None:
        super()._answered(wait)
        document = None if wait.answer is None else self._converter.unstructure_event(wait.answer)
        self._note(["answer", wait.delivery.number, wait.key, document, wait.prompts])

    def give_back(self, wait: Wait) -> None:
        """Let another wait have the answer of one that was cancelled."""
        if (
            wait.answer is None
            and self._waits is not None
            and self._waits.open.pop(wait.number, None) is not None
        ):
            # If it is the run that is cancelled, the wait is to be open when it goes on, and its question to be asked.
            # A timeout of the step's own is told from that by the step's going on.
            record: Attempt = wait.delivery.record
            record.given_up = [*(record.given_up or ()), wait.key]
        super().give_back(wait)

    def _unanswered(self, wait: Wait) -> None:
        super()._unanswered(wait)
        self._note(["unanswer", wait.delivery.number, wait.key])

    def _note_given_up(self, delivery: Delivery) -> None:
        """Note the waits that *delivery* has lived on without."""
        record: Attempt = delivery.record
        if record.given_up:
            for key in record.given_up:
                self._note(["unwait", delivery.number, key])
            record.given_up = None

    def _keep_answer(self, number: int, event: Event) -> None:
        super()._keep_answer(number, event)
        self._note(["early_answer", number, self._converter.unstructure_event(event)])

    def child_begins(self, delivery: Delivery, key: str, workflow: str, fingerprint: str) -> None:
        """A run begins that is part of the execution of *delivery*."""
        self._note_given_up(delivery)
        self.note_of_child(delivery.number, ["child_begins", delivery.number, key, workflow, fingerprint])

    def child_ends(self, delivery: Delivery, key: str) -> None:
        """It has ended with a StopEvent."""
        self.note_of_child(delivery.number, ["child_ends", delivery.number, key])

    def child_gone(self, delivery: Delivery, key: str) -> None:
        """It could not begin."""
        self.note_of_child(delivery.number, ["child_gone", delivery.number, key])

    def note_of_child(self, by: int, operation: Operation) -> None:
        """Note *operation*, unless the execution that the child is a part of has ended without it."""
        if by in self.pending:
            self._note(operation)

    def forget_early(self, number: int) -> None:
        """Forget an answer that was kept: somebody in another ledger has it."""
        super().forget_early(number)
        self._note(["late_question", number])

    # --- the state

    def state_changed(self, delivery: Delivery | None, state: RunState, names: set[str] | None) -> None:
        """Note what has changed: the top-level keys or fields in *names*, or any."""
        if delivery is not None:
            self._note_given_up(delivery)
        values = self._converter.state_keys(state.committed())
        # The first change notes the whole state, whose defaults are nowhere else.
        if names is None or not self._state_documents:
            names = {*values, *self._state_documents}
        changed: dict[str, Document] = {}
        for name in sorted(names):
            document = [self._converter.unstructure_field(name, values[name])] if name in values else ABSENT
            if document != self._state_documents.get(name, ABSENT):
                changed[name] = document
        self._repeating = [record for record in self._repeating if record.changes]
        for record in self._repeating:
            for change in record.changes or ():
                for name in changed:
                    change.setdefault(name, self._state_documents.get(name, ABSENT))
        for name, document in changed.items():
            if document:
                self._state_documents[name] = document
            else:
                del self._state_documents[name]
        # Noted also if nothing changed: when the delivery runs again its changes are matched in their order.
        self._note(["change", None if delivery is None else delivery.number, changed])

    def undo_change(self, state: RunState) -> None:
        """Make *state* what it was when it was last noted: a change that cannot be written down has not happened."""
        if self._state_documents:
            documents = {name: document[0] for name, document in self._state_documents.items()}
            state.set_state(self._converter.structure_state(documents))
        else:
            state.begin_anew()

    def earlier_state(self, delivery: Delivery) -> RunState | None:
        """Return the state that the next change of *delivery* started from in an earlier attempt, None if it is new."""
        changes = delivery.record.changes
        if not changes:
            return None
        before = {**self._state_documents, **changes[0]}
        documents = {name: document[0] for name, document in before.items() if document}
        state = self._converter.structure_state(documents, where="state") if documents else None
        return RunState(self.plan.state_type, state)

    def repeats_change(self, delivery: Delivery) -> bool:
        """Match a change that *delivery* makes now with one that an earlier attempt has made, once."""
        changes = delivery.record.changes
        if not changes:
            return False
        del changes[0]
        return True


def _nothing(_operation: Operation) -> None:
    pass
