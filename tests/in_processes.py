"""Workflows whose steps run in other processes, which import this module to find them."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor

from anyio_workflows import Event, StartEvent, StopEvent, Workflow, step

made: list[ProcessPoolExecutor] = []
"""Every pool that `processes` has made in this process; who uses it here shuts them down."""


def processes() -> ProcessPoolExecutor:
    """Make a pool whose processes are no forks of one that has threads."""
    made.append(ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")))
    return made[-1]


class Number(Event):
    value: int
    seen_by: tuple[int, ...] = ()


class Odd(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Squaring(Workflow):
    """Squares, and tells in which processes."""


@step(workflow=Squaring, executor=processes)
def begin(ev: StartEvent) -> Number:
    return Number(value=ev.value, seen_by=(os.getpid(),))


@step(workflow=Squaring, executor=processes)
def square(*, ev: Number) -> StopEvent:
    return StopEvent(result=(ev.value**2, {*ev.seen_by, os.getpid()}), given=ev)


class Doing(Workflow):
    """Calls what it was started with, in another process."""


@step(workflow=Doing, executor=processes)
def do(ev: StartEvent) -> StopEvent:
    return StopEvent(result=ev.call())


class AsMethod(Workflow):
    @step(executor=processes)
    def work(self, ev: StartEvent) -> StopEvent:
        return StopEvent()


def raise_odd() -> None:
    raise Odd(3)


def die() -> None:
    os._exit(1)


def give_a_lock() -> object:
    return threading.Lock()


def misspell() -> None:
    Number(amount=3)  # type: ignore[call-arg]
