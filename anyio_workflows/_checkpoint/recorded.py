"""A ledger that notes what it does, so that the run can go on from any moment of it.

What an execution in work has done is kept with its delivery until it commits. When that runs again, in a run that
goes on from a checkpoint, what it does is matched with what was kept: it happens once.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from .._errors import CheckpointError
from .._events import (
    Event,
    ResumeDivergedEvent,
)
from .._ledger.collecting import Buffer, Entry, Expected
from .._ledger.delivery import Delivery, Desk
from .._ledger.ledger import Ledger
from .._ledger.plan import Plan
from .._ledger.state import RunState
from .._ledger.waiting import Wait
from .attempts import Attempt, are_equal
from .history import History
from .snapshot import ABSENT, Document, Operation
from .writing import Writer, known_events, written_name_of

_KEY_BYTES = 12
"""Of an idempotency key: enough that two of one run never meet."""


class RecordedLedger(Ledger):
    """A ledger with a history."""

    __slots__ = (
        "_arrivals",
        "_cause",
        "_committing",
        "_converter",
        "_document",
        "_event_types",
        "_has_end",
        "_held",
        "_note",
        "_repeating",
        "_state_documents",
        "history",
        "holds",
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
        super().__init__(plan, publish, desk_type)
        self.history: History = history
        self._converter = converter
        self._note: Callable[[Operation], None] = history.operations.append
        self._document: Document = None
        self.run_id: str = run_id
        self._event_types = {written_name_of(event): event for event in known_events(plan)}
        self._arrivals = 0
        self._cause = ""
        self._committing: Delivery | None = None
        self._state_documents: dict[str, Document] = {}
        self._repeating: list[Attempt] = []
        """Records with changes of the state that an earlier attempt has made."""
        self.holds: bool = False
        """Whether what a commit delivers may not begin before that commit is on disk."""
        self._held: list[Delivery] | None = None
        self._has_end = False

    # --- events

    def emit(
        self,
        event: Event,
        step: str | None = None,
        *,
        source: str = "the run",
        sender: Delivery | None = None,
    ) -> bool:
        """Route *event* as any ledger does, unless an earlier attempt of *sender* has sent it."""
        route = self.plan.route(event, source=source)
        self._note_cause(event, step, self._committing if sender is None else sender)
        if sender is not None and sender.record.has_sent(step, event):
            return False
        if sender is not None:
            self._note_given_up(sender)
        self._document = document = self._converter.unstructure_event(event)
        stops = self._emit_with_care(event, route, step, source)
        if stops and self._has_end:
            return False  # one that was given before is on its way to the disk, and will end the run
        if stops:
            self._has_end = True
            self._note(["end", document])
        elif sender is not None:
            self._note(["send", sender.number, step, document])
        return stops

    def _deliver(self, index: int, event: Event) -> None:
        super()._deliver(index, event)
        number, step = self._number, self.plan.nodes[index].name
        key = blake2b(f"{self._cause}>{step}".encode(), digest_size=_KEY_BYTES).hexdigest()
        self.pending[number].record = Attempt(self._document, key)
        self._note(["deliver", number, step, self._document, key])

    def _note_cause(self, event: Event, target: str | None, parent: Delivery | None) -> None:
        """Say what delivers *event*: its place among the outputs of *parent* of its class and target, never a counter."""
        kind = type(event).__qualname__
        if parent is None:  # from outside
            self._cause = f"{self.run_id}/{self._arrivals}"
            self._arrivals += 1
            self._note(["arrive"])
            return
        record: Attempt = parent.record
        if record.outputs is None:
            record.outputs = {}
        index = record.outputs.get((kind, target), 0)
        record.outputs[kind, target] = index + 1
        self._cause = f"{record.key}/{kind}/{target}/{index}"

    def publish_prompt(self, event: Event, sender: Delivery | None) -> None:
        """Put a question on the stream, unless it stands there since an earlier attempt."""
        record: Attempt | None = None if sender is None else sender.record
        if sender is not None:
            self._note_given_up(sender)
        number = None if record is None else record.has_asked(event)
        if number is None:
            document = self._converter.unstructure_event(event)
            super().publish_prompt(event, sender)
            number = self.prompts
            self._note(["prompt", None if sender is None else sender.number, number, document])
        if record is not None:
            record.note_asked(number)

    def was_sent(self, event: Event, step: str | None, sender: Delivery) -> bool:
        """Return whether an earlier attempt of *sender* has sent *event*."""
        return sender.record.finds_sent(step, event) is not None

    def receive_response(self) -> None:
        """Count the answer of a human."""
        super().receive_response()
        self._note(["response"])

    # --- executions

    def commit(self, delivery: Delivery, output: Event | None) -> bool:
        """End the execution of *delivery*: the history has a cut at which its output is pending and its input not."""
        record: Attempt = delivery.record
        self._held = [] if self.holds else None
        self._committing = delivery
        try:
            stops = super().commit(delivery, output)
        except BaseException:
            self._held = None
            raise
        finally:
            self._committing = None
        for _, event in record.sent or ():
            self._publish(ResumeDivergedEvent(step_name=delivery.desk.node.name, event=event))
        for wait in (record.waits or {}).values():
            self.give_back(wait)
            self.close_wait(wait)
        self._note_given_up(delivery)
        self._note(["commit", delivery.number])
        self.history.cut(delivery.desk.node.name, record.event, None if output is None else self._document)
        return stops

    def _line_up(self, delivery: Delivery) -> None:
        if self._held is None:
            super()._line_up(delivery)
        else:
            self.pending[delivery.number] = delivery
            self._held.append(delivery)

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
        self._match_spent(delivery, event, buffer_id)
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

    @staticmethod
    def _match_spent(delivery: Delivery, event: Event, buffer_id: str | None) -> None:
        spent: list[tuple[Buffer, Entry]] = delivery.record.spent or []
        if any(entry.event is event for _, entry in delivery.spent or ()):
            return
        for index, (buffer, entry) in enumerate(spent):
            if buffer.buffer_id == buffer_id and are_equal(entry.event, event):
                del spent[index]
                delivery.spent = [*(delivery.spent or ()), (buffer, Entry(entry.place, event))]
                return

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
        record: Attempt = delivery.record
        self._note_given_up(delivery)
        record.wait_count += 1
        # A name of the user's choice could be the number of another wait.
        key = f"#{record.wait_count}" if waiter_id is None else f"={waiter_id}"
        asked, record.asked = record.asked, None
        if record.waits and key in record.waits:
            return record.waits.pop(key)
        if record.answers and key in record.answers:
            wait = self._new_wait(delivery, event_type, requirements, waiter_id, timeout)
            wait.key, wait.answer = key, record.answers.pop(key)
            if wait.answer is None:
                wait.timeout = 0.0
            return wait
        self._check_known(event_type)
        required = self._converter.unstructure_value(dict(requirements or {}), where="requirements")
        wait = super().open_wait(
            delivery, event_type, requirements=requirements, waiter_id=waiter_id, timeout=timeout
        )
        wait.key, wait.prompts = key, asked or []
        if wait.answer is not None:  # by an event that came before
            self._note(["late_question", wait.answer_number])
            self._note_answer(wait)
        else:
            self._note_wait(wait, required)
        return wait

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

    def _answer_wait(self, number: int, event: Event, step: str | None = None) -> bool:
        if not super()._answer_wait(number, event, step):
            return False
        self._note_answer(self.answered[-1])
        return True

    def _note_answer(self, wait: Wait) -> None:
        document = None if wait.answer is None else self._converter.unstructure_event(wait.answer)
        self._note(["answer", wait.delivery.number, wait.key, document, wait.prompts])

    def close_wait(self, wait: Wait) -> None:
        """Forget a wait that is over, also because its time is: when the step runs again it is over at once."""
        if self._waits is not None and wait.number in self._waits.open:
            self._note_answer(wait)
        super().close_wait(wait)

    def give_back(self, wait: Wait) -> None:
        """Let another wait have the answer of one that was cancelled."""
        if wait.answer is not None:
            self._note(["unanswer", wait.delivery.number, wait.key])
        elif self._waits is not None and self._waits.open.pop(wait.number, None) is not None:
            # If it is the run that is cancelled, the wait is to be open when it goes on, and its question to be asked.
            # A timeout of the step's own is told from that by the step's going on.
            record: Attempt = wait.delivery.record
            record.given_up = [*(record.given_up or ()), wait.key]
        super().give_back(wait)

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
