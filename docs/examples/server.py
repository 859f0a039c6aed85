"""An ASGI application that runs workflows: no framework, so that nothing is hidden."""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from anyio_workflows import (
    Context,
    Event,
    EventsMissed,
    RunGroup,
    RunNotFoundError,
    StartEvent,
    StopEvent,
    Workflow,
    WorkflowHandler,
    step,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Order(StartEvent):
    item: str


class Progress(Event):
    percent: int


class Baking(Workflow):
    @step
    async def bake(self, ctx: Context, ev: Order) -> StopEvent:
        for percent in (50, 100):
            ctx.write_event_to_stream(Progress(percent=percent))
            await anyio.sleep(0.001)
        return StopEvent(result=f"one {ev.item}")


class App:
    """``POST /runs/<item>`` starts a run, ``GET /runs/<id>`` streams its events, ``DELETE /runs/<id>`` cancels it."""

    def __init__(self) -> None:
        self.workflow = Baking(timeout=60)
        self.runs = RunGroup(max_runs=100, grace=10)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        else:
            await self.respond(scope, receive, send)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self.runs:  # the runs live in here, whatever becomes of the requests
            await send({"type": "lifespan.startup.complete"})
            await receive()
        # Every run has ended: in its own time, or cancelled after 10 seconds.
        await send({"type": "lifespan.shutdown.complete"})

    async def respond(self, scope: Message, receive: Receive, send: Send) -> None:
        name = scope["path"].rpartition("/")[2]
        if scope["method"] == "POST":
            handler = self.runs.start(self.workflow, item=name)
            await send_json(send, 202, {"run_id": handler.run_id})
            return
        try:
            handler = self.runs[name]
        except RunNotFoundError as error:
            await send_json(send, 404, {"error": str(error)})
            return
        if scope["method"] == "DELETE":
            await handler.cancel_run()
            await send_json(send, 200, {"is_done": handler.is_done()})
        else:
            await stream_run(handler, last_event_id(scope), receive, send)


async def stream_run(handler: WorkflowHandler, seen: int, receive: Receive, send: Send) -> None:
    """Send the events after the first *seen* ones as they come; end with the run, or when the client goes."""
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-cache")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(cancel_on_disconnect, receive, tasks.cancel_scope)
        async for event in handler.stream_events(offset=seen):
            seen += event.count if isinstance(event, EventsMissed) else 1
            text = f"id: {seen}\nevent: {type(event).__name__}\ndata: {json.dumps(vars(event), default=repr)}\n\n"
            await send({"type": "http.response.body", "body": text.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        tasks.cancel_scope.cancel()


async def cancel_on_disconnect(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()  # of this response only: the run goes on


def last_event_id(scope: Message) -> int:
    """Return how many events a client that connects again has seen; browsers send it by themselves."""
    given = dict(scope["headers"]).get(b"last-event-id", b"0")
    return int(given) if given.isdigit() else 0


async def send_json(send: Send, status: int, content: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(content).encode()})


app = App()
