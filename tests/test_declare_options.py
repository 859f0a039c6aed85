"""The options of the step decorator (S-DEF-1)."""

import functools
from typing import Any

import pytest
from declaring import Answer, Host, Query, Refusal, declared, problems_of

from anyio_workflows._declare.step import step
from anyio_workflows._declare.workflow import DeclaredWorkflow
from anyio_workflows._events import StopEvent


def test_s_def_1_num_workers_defaults_to_four_and_max_pending_to_at_least_64() -> None:
    class Flow(DeclaredWorkflow):
        @step
        async def plain(self, ev: Query) -> None: ...
        @step(num_workers=100)
        async def wide(self, ev: Query) -> None: ...
        @step(num_workers=1, max_pending=1)
        async def narrow(self, ev: Query) -> None: ...

    found = [(one.num_workers, one.max_pending) for one in Flow.step_declarations()]
    assert found == [(4, 64), (100, 200), (1, 1)]


def test_s_def_1_options_are_kept() -> None:
    class Limiter:
        def acquire_on_behalf_of_nowait(self, borrower: object) -> None: ...

    limiter = Limiter()

    class Flow(DeclaredWorkflow):
        @step(
            timeout=2,
            limiter=limiter,
            waits_for=iter((Answer, Refusal)),
            accept_event_subclasses=True,
            skip_graph_checks=["dead_end"],
        )
        async def work(self, ev: Query) -> None: ...

        @step(limiter=functools.partial(Limiter), waits_for=Answer, skip_graph_checks="reachability")
        async def made(self, ev: Query) -> None: ...

    found = declared(Flow.work)
    assert (found.timeout, found.limiter, found.waits_for) == (2, limiter, (Answer, Refusal))
    assert (found.accept_event_subclasses, found.skip_graph_checks) == (True, frozenset({"dead_end"}))
    assert (declared(Flow.made).waits_for, declared(Flow.made).skip_graph_checks) == (
        (Answer,),
        frozenset({"reachability"}),
    )


async def _async_maker() -> None: ...


def _maker_with_argument(tokens: int) -> None: ...


@pytest.mark.parametrize(
    ("options", "said"),
    [
        *(({"num_workers": bad}, f"num_workers={bad!r}") for bad in (0, -1, True, 1.0, "4", None)),
        *(({"max_pending": bad}, f"max_pending={bad!r}") for bad in (0, -1, True, 1.5)),
        *(({"timeout": bad}, f"timeout={bad!r}") for bad in (0, -0.5, True, "1", float("nan"))),
        *(({"limiter": bad}, "CapacityLimiter") for bad in (3, dict, _async_maker, _maker_with_argument)),
        ({"waits_for": str}, "waits_for"),
        ({"waits_for": [Answer, 3]}, "has 3 in waits_for"),
        ({"waits_for": StopEvent}, "waits for StopEvent"),
        ({"accept_event_subclasses": "yes"}, "accept_event_subclasses='yes'"),
        ({"skip_graph_checks": ["dead_ends"]}, "'dead_ends' in skip_graph_checks"),
        ({"skip_graph_checks": 3}, "3 in skip_graph_checks"),
    ],
)
def test_s_def_1_a_wrong_option_is_an_error_at_decoration(options: dict[str, Any], said: str) -> None:
    def work(ev: Query) -> None: ...

    problem, *others = problems_of(lambda: step(workflow=Host, **options)(work))
    assert others == []
    assert problem.startswith("step 'work' ")
    assert said in problem
