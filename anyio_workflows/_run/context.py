"""What a step can do to its run while it executes."""

from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

import anyio

from .._brief import brief
from .._declare.retry import RetryInfo
from .._declare.signature import ContextParameter
from .._errors import WorkflowRuntimeError
from .._events import Event, InputRequiredEvent, StartEvent
from .._ledger.collecting import Expected
from .._ledger.delivery import Delivery
from .._ledger.outcome import Completed, Outcome
from .._ledger.waiting import Wait
from .crew import Crew
from .family import name_is_wrong
from .inbox import Inbox
from .store import SharedState, StateStore
from .stream import EventStream
from .threads import in_event_loop
from .worker import Execution, Parked, Worker

if TYPE_CHECKING:  # plain `Context` means Context[Any]; before 3.13 only type checkers know defaults
    import typing_extensions

    from .workflow import Workflow

    StateT = typing_extensions.TypeVar("StateT", default=Any)
else:
    StateT = TypeVar("StateT")
EventT = TypeVar("EventT", bound=Event)
ResultT = TypeVar("ResultT")


class RunOfContext(Protocol):
    """What a context needs of its run beside the crew."""

    stream: EventStream

    @property
    def run_id(self) -> str:
        """Id of the run."""
        ...

    @property
    def shared_state(self) -> SharedState:
        """The state, made when it is first used."""
        ...

    def decide(self, outcome: Outcome) -> bool:
        """Decide the run at the call."""
        ...

    def cancel_step(self, step: str, reason: str) -> int:
        """Cancel the executions of *step*."""
        ...

    def cancel_fan_out(self, step: str, reason: str) -> int:
        """Cancel what has come of the lists of *step*."""
        ...

    async def run_child(
        self,
        execution: "Context[Any]",
        workflow: "Workflow",
        start_event: StartEvent | None,
        namespace: str | None,
        options: Mapping[str, Any],
    ) -> Any:
        """Run *workflow* as a part of *execution*."""
        ...

    def find_answer(self, wait: Wait) -> None:
        """Look for an answer that was kept elsewhere than in the ledger of the run."""
        ...


class Context(Execution, ContextParameter, Generic[StateT]):
    """The run as one execution of a step sees it; it ends with the execution.

    Declare a parameter ``ctx: Context``, or ``ctx: Context[State]`` for typed state, and the step is given
    one. It may be handed to child tasks of the step, which end before the step does.

    In a plain ``def`` step, which runs in a worker thread, the synchronous methods hop to the event loop and
    wait for it; the asynchronous ones and `store` are not available there.
    """

    __slots__ = ("_child_counts", "_crew", "_names", "_run")

    def __init__(self, crew: Crew, delivery: Delivery, worker: Worker, run: RunOfContext) -> None:
        super().__init__(delivery, worker)
        self._crew = crew
        self._run = run
        self._names: set[tuple[str, str]] | None = None
        self._child_counts: dict[str, int] | None = None

    def _live(self, method: str) -> Crew:
        if self._is_over:
            raise WorkflowRuntimeError(
                f"ctx.{method} was used after its execution of step {self.step_name!r} had ended; "
                f"use a context only while the step that was given it runs"
            )
        return self._crew

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self._run.run_id

    @property
    def step_name(self) -> str:
        """Name of the step that is executed."""
        return self._delivery.desk.node.name

    @property
    def idempotency_key(self) -> str:
        """Names this execution by what has caused it, for effects outside the run, which may happen twice.

        The same when the execution runs again after a failure, a crash or a resume, and different for any other: give
        it to the payment service as its idempotency key.

        Raises:
            WorkflowRuntimeError: The run is not recorded, or the execution has ended.
        """
        self._live("idempotency_key")
        record = self._delivery.record
        if record is None or not record.key:  # a step that is retried has a record in any run
            raise WorkflowRuntimeError(
                f"step {self.step_name!r} asks for an idempotency key, which only a recorded run has; "
                f"start it with WorkflowCheckpointer(workflow=workflow).run(...)"
            )
        key: str = record.key
        return key

    @property
    def store(self) -> StateStore[StateT]:
        """The state of the run.

        Raises:
            WorkflowRuntimeError: The execution has ended.
        """
        return StateStore(self._live("store"), self, self._run.shared_state)

    def retry_info(self) -> RetryInfo:
        """Return how this execution stands with its attempts.

        Raises:
            WorkflowRuntimeError: The execution has ended.
        """
        crew = self._live("retry_info")
        delivery = self._delivery
        failure = delivery.failure
        if failure is None:
            return RetryInfo(0, 0.0, None, None)
        # Not noted for a step that had a policy before the run was resumed, and has none now.
        began = crew.began_at(delivery) if delivery.first_began is None else delivery.first_began
        return RetryInfo(
            retry_number=delivery.attempt - 1,
            elapsed_seconds=anyio.current_time() - began,
            last_exception=failure.error,
            last_failed_at=datetime.fromtimestamp(failure.at, UTC),
        )

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Send *event* into the run, at once and without waiting.

        It goes to every step that accepts it, one delivery each, or to *step* alone. Returning an event is the
        same at the end. A StopEvent decides the run at the call. Once the run is decided, nothing is sent.

        Raises:
            WorkflowRuntimeError: It is no event, *step* does not accept it, or the execution has ended.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        crew = self._live("send_event")
        if crew.ledger.outcome is not None:
            return
        if crew.ledger.emit(event, step, source=f"step {self.step_name!r}", sender=self._delivery):
            self._stop(crew, event)
        elif not self._is_driven:
            crew.flush()

    def _stop(self, crew: Crew, event: Event) -> None:
        crew.stopped(event)

    async def send(self, event: Event, step: str | None = None) -> None:
        """Send *event* like `send_event`, but wait while a receiving step has too much to do.

        That is, while it has ``max_pending`` deliveries or more, in line or in work. A pipeline that is fed this
        way runs in constant memory.

        Raises:
            WorkflowRuntimeError: As `send_event`.
            WorkflowStalledError: Not here, but as the run's outcome, if no place can ever become free.

        Cancellation:
            The event is not sent.
        """
        crew = self._live("send")
        await crew.hop(self)
        source = f"step {self.step_name!r}"
        waited_for: Inbox | None = None
        while (inbox := _full_inbox(crew, event, step, source)) is not None:
            if crew.ledger.was_sent(event, step, self._delivery):
                break  # it has its place already, and who is to make room may wait for this step
            place = Parked(crew)
            if inbox.senders is None:
                inbox.senders = deque()
            if inbox is waited_for:  # somebody was quicker: it keeps its turn
                inbox.senders.appendleft(place)
            else:
                inbox.senders.append(place)
            waited_for = inbox
            try:
                await crew.park(
                    self, place, f"ctx.send to step {inbox.node.name!r}, which has {inbox.pending} pending"
                )
            except BaseException:
                if not place.bell.is_set():
                    inbox.senders.remove(place)
                elif inbox.senders and not inbox.is_full:
                    inbox.senders.popleft().wake()
                raise
        self.send_event(event, step)

    async def checkpoint(self) -> None:
        """Let other tasks, timeouts and cancellation have their turn; in a run that is explored, whoever is chosen.

        Raises:
            WorkflowRuntimeError: The execution has ended.

        Cancellation:
            Nothing has happened.
        """
        await self._live("checkpoint").pause(self, "checkpoint")

    def collect_events(
        self, ev: Event, expected: Expected[EventT], buffer_id: str | None = None
    ) -> list[EventT] | None:
        """Add *ev* to a collection of this step, and give the collection once it is complete.

        The collection belongs to the run, the step and *buffer_id*. An execution adds its event once, however
        often it calls; what it added and took is undone if it fails.

        Args:
            ev: The event that the step was called with.
            expected: Event classes in the order wanted, ``[ResultEvent] * 3``, or how many of each,
                ``{ResultEvent: 3}``, which costs less with every event if there are many.
            buffer_id: Which collection, if the step has several.

        Returns:
            The events, ordered as *expected*, those of one class in order of arrival; None while some are missing.
            What is given is consumed, what is over stays for the next batch.

        Raises:
            WorkflowRuntimeError: *expected* is not made of event classes, or the execution has ended.
        """
        return self._live("collect_events").ledger.collect(self._delivery, ev, expected, buffer_id)

    def cancel_step(self, step: str, reason: str = "") -> int:
        """Cancel the executions of one step, as `WorkflowHandler.cancel_step`; of its own, this one too.

        Raises:
            WorkflowRuntimeError: The step is not declared so, or the execution has ended.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        crew = self._live("cancel_step")
        return self._run.cancel_step(step, reason) if crew.ledger.outcome is None else 0

    def cancel_fan_out(self, step: str, reason: str = "") -> int:
        """Cancel everything that has come of the lists of *step*, as `WorkflowHandler.cancel_fan_out`.

        Raises:
            WorkflowRuntimeError: The step returns no list, or the execution has ended.
            WorkflowStepDoesNotExistError: There is no step called *step*.
        """
        crew = self._live("cancel_fan_out")
        return self._run.cancel_fan_out(step, reason) if crew.ledger.outcome is None else 0

    async def wait_for_event(
        self,
        event_type: type[EventT],
        waiter_event: Event | None = None,
        waiter_id: str | None = None,
        requirements: Mapping[str, Any] | None = None,
        timeout: float | None = None,
    ) -> EventT:
        """Wait, in the middle of the step, for an event of *event_type*, and take it.

        The step stays where it is and is not run again; it holds no worker meanwhile. Each wait gets an event of
        its own, which goes to no step; of several open waits the oldest that matches.

        Args:
            event_type: Class of the event; subclasses match if the step has ``accept_event_subclasses=True``.
            waiter_event: Written to the stream first: the question.
            waiter_id: Names this wait within the execution.
            requirements: Fields that the event must have, with their values.
            timeout: Seconds to wait for the event; None waits as long as the run does.

        Raises:
            TimeoutError: No event came in time.
            WorkflowRuntimeError: *event_type* is no event class, *waiter_id* was used before in this execution, or
                the execution has ended.

        Cancellation:
            The wait is closed. An answer that had come goes to the next wait that it matches.
        """
        crew = self._live("wait_for_event")
        given: object = event_type
        if not (isinstance(given, type) and issubclass(given, Event)):
            raise WorkflowRuntimeError(
                f"step {self.step_name!r} waits for {brief(event_type)}, which is no event class"
            )
        if waiter_id is not None:
            self._claim_name("waiter_id", waiter_id, "waits")
        is_plain = isinstance(waiter_event, Event) and not isinstance(waiter_event, InputRequiredEvent)
        if not is_plain:  # the ledger knows which questions were asked
            self.write_event_to_stream(waiter_event)
        wait = crew.ledger.open_wait(
            self._delivery,
            event_type,
            requirements=dict(requirements) if requirements else None,
            waiter_id=waiter_id,
            timeout=timeout,
        )
        if is_plain and not wait.is_repeated:
            self.write_event_to_stream(waiter_event)
        if wait.answer is None and not wait.is_over:
            self._run.find_answer(wait)
        if wait.is_over:
            crew.ledger.close_wait(wait)
            await crew.hop(self)
        elif wait.answer is not None:
            try:
                await crew.hop(self)
            except BaseException:
                crew.ledger.give_back(wait)
                raise
        else:
            await crew.wait(self, wait)
        if wait.answer is None:
            raise TimeoutError(f"{wait}, and none came within {timeout} seconds")
        return wait.answer  # type: ignore[return-value]  # of event_type, or of a subclass

    async def run_child(
        self,
        workflow: "Workflow[ResultT]",
        start_event: StartEvent | None = None,
        *,
        namespace: str | None = None,
        state: object | None = None,
        timeout: float | None = None,
        **fields: Any,
    ) -> ResultT:
        """Run *workflow* here, as a part of this execution, and return its result.

        What it writes to its stream is on the stream of this run, in events of class `ChildEvent`; its questions are there as
        themselves, and an answer that is sent into this run finds it. While it waits for a human, so does this run.
        If this run is recorded, the child stands in its checkpoints: an execution that runs again goes on with the
        child where that was, or has its result.

        Args:
            workflow: What to run.
            start_event: What it starts with; or give its *fields*.
            namespace: What it is called in what it says, and found by when the execution runs again. By default it is
                called as its workflow, and found by what it was started with: of those that run at once with equal
                start events and different states, each needs a name.
            state: What its state is at the start.
            timeout: Seconds that it may take; by default its workflow's own.
            **fields: Fields of the start event.

        Raises:
            Exception: What the child ended with.
            WorkflowRuntimeError: *namespace* was used before in this execution, or that has ended; *workflow* is none;
                or as `Workflow.run`.
            WorkflowValidationError: The run is recorded, and an event or the state of *workflow* cannot be written.
            CheckpointError: The run goes on, and the workflow of the child has changed since.

        Cancellation:
            Cancels the child.
        """
        self._live("run_child")
        given: object = workflow
        if isinstance(given, type) or not callable(getattr(given, "_new_run", None)):
            raise WorkflowRuntimeError(
                f"step {self.step_name!r} called run_child with {brief(given)}; give a Workflow, as in "
                f"'await ctx.run_child(Review(), text=ev.text)'"
            )
        if wrong := name_is_wrong(namespace):
            raise WorkflowRuntimeError(f"step {self.step_name!r} called run_child with {wrong}")
        if namespace is not None:
            self._claim_name("namespace", namespace, "runs a child")
        options: dict[str, Any] = {"state": state, **fields}
        if timeout is not None:
            options["timeout"] = timeout
        result: ResultT = await self._run.run_child(self, workflow, start_event, namespace, options)
        return result

    def _count_child(self, start: str) -> int:
        """Return how many children this execution runs now that have no name and were started with the same."""
        if self._child_counts is None:
            self._child_counts = {}
        self._child_counts[start] = number = self._child_counts.get(start, 0) + 1
        return number

    def _claim_name(self, kind: str, name: str, does: str) -> None:
        """Note that *name* is taken in this execution: two of one name could not be told apart after a restart."""
        if self._names is None:
            self._names = set()
        if (kind, name) in self._names:
            raise WorkflowRuntimeError(
                f"step {self.step_name!r} {does} twice with {kind}={name!r}; "
                f"give each one of an execution a {kind} of its own, or none"
            )
        self._names.add((kind, name))

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Write *ev* to the stream of the run, for whoever reads `WorkflowHandler.stream_events`.

        None is passed over, as in LlamaIndex Workflows. Once the run is decided, nothing is written.

        Raises:
            WorkflowRuntimeError: It is no event, or the execution has ended.
        """
        crew = self._live("write_event_to_stream")
        if ev is None:
            return
        if not isinstance(ev, Event):
            raise WorkflowRuntimeError(
                f"step {self.step_name!r} wrote {brief(ev)} to the stream, which is no event; "
                f"write an instance of a class derived from Event"
            )
        if isinstance(ev, InputRequiredEvent):
            crew.ledger.publish_prompt(ev, self._delivery)
        else:
            self._run.stream.append(ev)


class ThreadContext(Context[StateT]):
    """The context of a plain ``def`` step: every call hops from its thread to the event loop."""

    __slots__ = ()

    @property
    def store(self) -> StateStore[StateT]:
        """Not available in a thread."""
        raise self._not_in_a_thread("store")

    def retry_info(self) -> RetryInfo:
        """Return how this execution stands with its attempts."""
        return self._hop(super().retry_info)

    def send_event(self, event: Event, step: str | None = None) -> None:
        """Send *event* into the run; returns when it has been routed."""
        self._hop(super().send_event, event, step)

    # Plain functions, so that a call that is not awaited is an error as well.

    def send(self, event: Event, step: str | None = None) -> NoReturn:  # noqa: ARG002
        """Not available in a thread."""
        raise self._not_in_a_thread("send")

    def checkpoint(self) -> NoReturn:
        """Not available in a thread."""
        raise self._not_in_a_thread("checkpoint")

    def collect_events(
        self, ev: Event, expected: Expected[EventT], buffer_id: str | None = None
    ) -> list[EventT] | None:
        """Collect as in an async step."""
        return self._hop(super().collect_events, ev, expected, buffer_id)

    def run_child(
        self,
        workflow: "Workflow",  # noqa: ARG002
        start_event: StartEvent | None = None,  # noqa: ARG002
        *,
        namespace: str | None = None,  # noqa: ARG002
        state: object | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
        **fields: Any,  # noqa: ARG002
    ) -> NoReturn:
        """Not available in a thread."""
        raise self._not_in_a_thread("run_child")

    def wait_for_event(
        self,
        event_type: type[EventT],  # noqa: ARG002
        waiter_event: Event | None = None,  # noqa: ARG002
        waiter_id: str | None = None,  # noqa: ARG002
        requirements: Mapping[str, Any] | None = None,  # noqa: ARG002
        timeout: float | None = None,  # noqa: ARG002
    ) -> NoReturn:
        """Not available in a thread."""
        raise self._not_in_a_thread("wait_for_event")

    def cancel_step(self, step: str, reason: str = "") -> int:
        """Cancel the executions of one step."""
        return self._hop(super().cancel_step, step, reason)

    def cancel_fan_out(self, step: str, reason: str = "") -> int:
        """Cancel everything that has come of the lists of *step*."""
        return self._hop(super().cancel_fan_out, step, reason)

    def write_event_to_stream(self, ev: Event | None) -> None:
        """Write *ev* to the stream of the run."""
        self._hop(super().write_event_to_stream, ev)

    def _stop(self, crew: Crew, event: Event) -> None:  # noqa: ARG002
        # No task is running here, only a call from a thread: whose cancellation there might be cannot be asked.
        self._run.decide(Completed(event))  # type: ignore[arg-type]  # the ledger says that it is a StopEvent

    def _hop(self, call: Callable[..., ResultT], *arguments: Any) -> ResultT:
        # A run that is explored has no threads.
        return call(*arguments) if self._crew.turnstile is not None else in_event_loop(call, *arguments)

    def _not_in_a_thread(self, what: str) -> WorkflowRuntimeError:
        return WorkflowRuntimeError(
            f"ctx.{what} cannot be used in step {self.step_name!r}, a plain function that runs in a worker thread; "
            f"make the step async def, or do this in an async step before or after it"
        )


def _full_inbox(crew: Crew, event: Event, step: str | None, source: str) -> Inbox | None:
    """Return the first receiver of *event* that has too much to do."""
    plan = crew.ledger.plan
    for index in plan.route(event, source=source).targets:
        inbox: Inbox | None = crew.ledger.desks[index]
        if inbox is not None and inbox.is_full and step in (None, inbox.node.name):
            return inbox
    return None
