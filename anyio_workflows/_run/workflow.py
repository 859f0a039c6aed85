"""The class that users derive their workflows from: its steps become a validated graph, and runs of it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Self, TypeVar

from .._brief import brief
from .._declare.results import declared_result
from .._declare.step import StepDeclaration
from .._declare.workflow import DeclaredWorkflow
from .._errors import WorkflowRuntimeError, WorkflowValidationError
from .._events import Event, StartEvent, StopEvent
from .._graph.model import Graph, build_graph
from .._ledger.plan import Node, Plan
from .._ledger.state import RunState
from .handler import ResultT_co, WorkflowHandler
from .places import Places
from .run import Run

if TYPE_CHECKING:  # loaded by programs that record, observe, or declare resources
    from .._checkpoint.notation import Notation
    from .._observer import Observer
    from .resources import WorkflowResources
    from .watching import Watch


RunT = TypeVar("RunT", bound=Run)


class _Unset(Enum):
    UNSET = "the workflow's own"


_UNSET: Final = _Unset.UNSET


class Workflow(DeclaredWorkflow, Generic[ResultT_co]):
    """Steps that are wired by the events they accept and return.

    Derive from it, and decorate methods with `step`::

        class Greeting(Workflow):
            @step
            async def greet(self, ev: StartEvent) -> StopEvent:
                return StopEvent(result=f"Hello, {ev.name}!")


        result = await Greeting().run(name="world")

    One instance may serve any number of runs at once, also in several event loops.

    ``class Greeting(Workflow[str])`` says what its runs give, to type checkers: the type of the ``result``, or the
    subclass of `StopEvent` that they end with.
    """

    _plan: Plan | None = None
    _notation: "Notation | None" = None
    _resources: "WorkflowResources | None" = None

    def __init__(
        self,
        *,
        timeout: float | None = None,
        verbose: bool = False,
        num_concurrent_runs: int | None = None,
        workflow_name: str | None = None,
        skip_graph_checks: Collection[str] | None = None,
        extra_events: Sequence[type[Event]] = (),
        observers: "Sequence[Observer]" = (),
    ) -> None:
        """Validate the graph.

        Args:
            timeout: Seconds that a run may take; None lets it take any time. Time spent waiting for a human does
                not count.
            verbose: Log every execution, to the logger ``anyio_workflows`` at level INFO.
            num_concurrent_runs: Most runs at once, per event loop; further ones wait their turn. None for no limit.
            workflow_name: Name for messages; by default that of the class.
            skip_graph_checks: Mistakes to allow: ``"reachability"``, ``"terminal_event"``, ``"dead_end"``.
            extra_events: Event classes that no annotation names but that are sent.
            observers: Who is told what its runs do: instances of `anyio_workflows.abc.Observer`.

        Raises:
            WorkflowConfigurationError: Among the mistakes is one of the start or stop event.
            WorkflowValidationError: The steps do not fit together; all mistakes are named.
            WorkflowRuntimeError: An argument has a wrong value.
        """
        check_seconds("timeout", timeout)
        if num_concurrent_runs is not None:
            check_count("num_concurrent_runs", num_concurrent_runs)
        self._timeout = timeout
        self._verbose = verbose
        self._skip_graph_checks = frozenset(skip_graph_checks or ())
        self._extra_events = tuple(extra_events)
        self._observers: Sequence[Observer] = ()
        if observers:
            from .watching import observers_of  # noqa: PLC0415  # loaded by those who observe

            self._observers = observers_of(observers)
        self._workflow_name = workflow_name or type(self).__qualname__.rpartition("<locals>.")[2]
        what = f"num_concurrent_runs of {self._workflow_name}"
        self._places = (Places(num_concurrent_runs, what),) if num_concurrent_runs is not None else ()
        self._plan_version = -1
        self.validate()

    @property
    def workflow_name(self) -> str:
        """Name for messages."""
        return self._workflow_name

    @property
    def graph(self) -> Graph:
        """Its steps and events, as a value to look at."""
        return self._current_plan().graph

    @property
    def start_event_class(self) -> type[StartEvent]:
        """What a run starts with."""
        return self.graph.start_event_class

    @property
    def stop_event_class(self) -> type[StopEvent]:
        """What a run ends with."""
        return self.graph.stop_event_class

    @property
    def events(self) -> tuple[type[Event], ...]:
        """Every event class that is known."""
        return self.graph.events

    def _repr_mimebundle_(self, **options: object) -> dict[str, str]:
        """Show its graph in a notebook."""
        return self.graph._repr_mimebundle_(**options)

    def validate(self) -> None:
        """Look for mistakes in the declaration; done when it is constructed, and at `run` if steps were added.

        Raises:
            WorkflowConfigurationError: Among the mistakes is one of the start or stop event.
            WorkflowValidationError: The steps do not fit together; all mistakes are named.
        """
        self._plan_version = DeclaredWorkflow._steps_version
        self._plan = self._notation = None
        declarations = self.step_declarations()
        graph = build_graph(
            self._workflow_name,
            declarations,
            skip_graph_checks=self._skip_graph_checks,
            extra_events=self._extra_events,
            result=declared_result(type(self), Workflow),
        )
        state_types = {step.state_type for step in declarations if step.state_type is not None}
        if len(state_types) > 1:
            names = ", ".join(sorted(kind.__qualname__ for kind in state_types))
            raise WorkflowValidationError(
                [f"its steps declare several classes of state ({names}); a run has one state: use one class"],
                workflow=self._workflow_name,
            )
        state_type = next(iter(state_types), None)
        nodes = tuple(Node(index, step, self._call_of(step)) for index, step in enumerate(declarations))
        self._plan = Plan(self._workflow_name, graph, nodes, state_type, self._planned_resources(nodes))

    def _planned_resources(self, nodes: Sequence[Node]) -> Any:
        if not any(node.resources for node in nodes):
            return None
        from .resources import planned  # noqa: PLC0415  # loaded by programs that declare resources

        return planned(nodes, self._own_resources())

    def _own_resources(self) -> "WorkflowResources":
        from .resources import WorkflowResources  # noqa: PLC0415  # loaded by programs that declare resources

        if self._resources is None:
            self._resources = WorkflowResources()
        return self._resources

    async def __aenter__(self) -> Self:
        """Let managed resources of ``scope="workflow"`` live until the block is left, in this event loop.

        They are made when a step first needs them. A workflow without such resources need not be entered. In a
        `RunGroup` they live as long as that, unless the workflow was entered.

        Raises:
            WorkflowRuntimeError: It was entered in this event loop already.
        """
        self._current_plan()
        await self._own_resources().enter(self._workflow_name)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Wait for the runs that use its resources, and leave these, the last one first.

        An exception in the body cancels those runs. A resource that ends by itself cancels the body; what it failed
        with, there or when it was left, is raised, unless the body has raised: then it is in a note and in the log.

        Cancellation:
            Cancels the runs. The resources are left, shielded, for half a minute each at most.
        """
        return await self._own_resources().leave(kind, error, traceback)  # noqa: ASYNC102  # shielded there

    def _call_of(self, step: StepDeclaration) -> Callable[..., Any]:
        call = step.function.__get__(self) if step.is_method else step.function
        if step.executor is None:
            return call
        from .executors import InExecutor  # noqa: PLC0415  # a twelfth of our import

        return InExecutor(step, call)

    def _current_plan(self) -> Plan:
        if "_plan_version" not in self.__dict__:
            raise WorkflowRuntimeError(
                f"{type(self).__qualname__} has an __init__ of its own that does not call Workflow's; "
                f"write super().__init__() in it"
            )
        if self._plan is None or self._plan_version != DeclaredWorkflow._steps_version:
            self.validate()
        assert self._plan is not None, "validate() makes the plan or raises"
        return self._plan

    def _current_notation(self) -> "Notation":
        """Return how its runs are written down.

        Raises:
            WorkflowValidationError: Some field of an event or of the state cannot be; all of them are named.
        """
        from .._checkpoint.notation import Notation  # noqa: PLC0415  # loaded by those who record

        plan = self._current_plan()
        if self._notation is None:
            self._notation = Notation(plan)
        return self._notation

    def run(
        self,
        start_event: StartEvent | None = None,
        *,
        state: object | None = None,
        run_id: str | None = None,
        timeout: float | _Unset | None = _UNSET,
        stream_buffer: int | None = None,
        checkpoints: bool = False,
        observers: "Sequence[Observer]" = (),
        **fields: Any,
    ) -> WorkflowHandler[ResultT_co]:
        """Return a run, not yet started: await it, enter it, or give it to a task group or a `RunGroup`.

        Args:
            start_event: What it starts with; or give its *fields*.
            state: What its state is at the start: an object of the state's class, a mapping, or `WorkflowHandler.state`
                of an earlier run. It is copied.
            run_id: Id of the run; by default a random one.
            timeout: Seconds that it may take, instead of the workflow's own.
            stream_buffer: Events that its stream keeps; by default all, for as long as the handler lives.
            checkpoints: Record it, so that `WorkflowHandler.checkpoint` can cut it at any moment. What it notes is kept
                in memory; `WorkflowCheckpointer` keeps its checkpoints as well, and has a store.
            observers: Who is told what it does, beside the workflow's own.
            **fields: Fields of the start event.

        Raises:
            EventFieldsError: The start event has no such field, or lacks one.
            WorkflowRuntimeError: *start_event* is of another class, or an argument has a wrong value.
            WorkflowValidationError: Steps were added that do not fit, or with *checkpoints* a field of an event or of
                the state cannot be written down.
        """
        options = {
            "state": state,
            "run_id": run_id,
            "timeout": timeout,
            "stream_buffer": stream_buffer,
            "observers": observers,
        }
        make: Callable[..., Run] = Run
        if checkpoints:
            # What writes events down is loaded by those who record.
            from .recorded_run import RecordedRun  # noqa: PLC0415
            from .recording import Recording  # noqa: PLC0415

            make = partial(RecordedRun, recording=Recording(self._current_notation()))
        return WorkflowHandler(self._new_run(start_event, {**options, **fields}, make))

    def _new_run(
        self, start_event: StartEvent | None, options: Mapping[str, Any], make: Callable[..., RunT]
    ) -> RunT:
        """Return a run that has not started; *options* are the keywords of `run`, which have its start event's."""
        return make(**self._arguments(start_event, options))

    def _arguments(self, start_event: StartEvent | None, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of a `Run`."""
        kind = self._current_plan().graph.start_event_class
        as_run, fields = self._as_run(options)
        return {**as_run, "start_event": self._start_event(kind, start_event, fields)}

    def _new_run_from(self, options: Mapping[str, Any], make: Callable[..., RunT]) -> RunT:
        """Return a run that goes on from what *make* has; it has a start event and a state already."""
        unknown = sorted(set(options) - {"run_id", "timeout", "stream_buffer", "observers"})
        if unknown:
            raise WorkflowRuntimeError(
                f"a run of {self._workflow_name} that goes on got {', '.join(unknown)}; it has its start event and "
                f"its state, give run_id=, timeout=, stream_buffer= and observers= only"
            )
        as_run, _ = self._as_run(options)
        return make(start_event=None, **as_run)

    def _as_run(self, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the arguments of a `Run`, and what is left: the fields of its start event."""
        plan = self._current_plan()
        fields = dict(options)
        state, run_id, stream_buffer = (
            fields.pop(name, None) for name in ("state", "run_id", "stream_buffer")
        )
        observers = fields.pop("observers", ())
        timeout = fields.pop("timeout", _UNSET)
        if timeout is _UNSET:
            timeout = self._timeout
        else:
            check_seconds("timeout", timeout)
        if stream_buffer is not None:
            check_count("stream_buffer", stream_buffer)
        if run_id is not None and not isinstance(run_id, str):
            raise WorkflowRuntimeError(f"run_id={run_id!r} is no id; give a str, or nothing for a random one")
        as_run = {
            "plan": plan,
            "state": None if state is None else RunState(plan.state_type, state),
            "run_id": run_id,
            "timeout": timeout,
            "stream_buffer": stream_buffer,
            "places": self._places,
            "is_verbose": self._verbose,
            "watch": self._new_watch(observers),
        }
        return as_run, fields

    def _new_watch(self, observers: "Sequence[Observer]") -> "Watch | None":
        """Return who is told what a run does, None if nobody is."""
        if not observers and not self._observers:
            return None
        from .watching import Watch, observers_of  # noqa: PLC0415  # loaded by those who observe

        return Watch(observers_of(self._observers, observers))

    def _start_event(
        self, kind: type[StartEvent], given: StartEvent | None, fields: dict[str, Any]
    ) -> StartEvent:
        if given is None:
            return kind(**fields)
        if fields:
            raise WorkflowRuntimeError(
                f"run() of {self._workflow_name} got start_event= and fields of one ({', '.join(fields)}); "
                f"give one or the other"
            )
        if type(given) is not kind:
            raise WorkflowRuntimeError(
                f"run() of {self._workflow_name} got start_event={brief(given)}, but it starts with {kind.__qualname__}"
            )
        return given


def is_number(value: object) -> bool:
    """Whether *value* can be a time: bool is an int to Python, but no time."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_seconds(name: str, value: object) -> None:
    """Raise `WorkflowRuntimeError` unless *value* is a number of seconds above 0, or None."""
    if value is not None and not (is_number(value) and value > 0):  # type: ignore[operator]  # NaN is not above 0
        raise WorkflowRuntimeError(f"{name}={value!r} is no time; give seconds above 0, or None for no limit")


def check_count(name: str, value: object, *, least: int = 1) -> None:
    """Raise `WorkflowRuntimeError` unless *value* is an int of at least *least*."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise WorkflowRuntimeError(f"{name}={value!r} is no number of them; give an int of {least} or more")
