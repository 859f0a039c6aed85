from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio

from anyio_workflows import Event, Resource, StartEvent, StopEvent, Workflow, step


class Pool:
    """Stands for the connections to a database."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sessions = 0


def url() -> str:
    return "db://orders"


@asynccontextmanager
async def open_pool(url: Annotated[str, Resource(url)]) -> AsyncGenerator[Pool]:
    print(f"pool for {url} opened")
    yield Pool(url)
    print("pool closed")


@asynccontextmanager
async def open_session(
    pool: Annotated[Pool, Resource(open_pool, scope="workflow")],
) -> AsyncGenerator[str]:
    pool.sessions += 1
    session = f"session {pool.sessions}"
    yield session
    print(f"{session} closed")


class Reserved(Event):
    item: str


class Ordering(Workflow):
    @step
    async def reserve(self, ev: StartEvent, session: Annotated[str, Resource(open_session)]) -> Reserved:
        print(f"{ev.item} reserved in {session}")
        return Reserved(item=ev.item)

    @step
    async def pay(self, ev: Reserved, session: Annotated[str, Resource(open_session)]) -> StopEvent:
        print(f"{ev.item} paid in {session}")
        return StopEvent()


async def main() -> None:
    async with Ordering() as workflow:
        await workflow.run(item="tea")
        await workflow.run(item="cake")


if __name__ == "__main__":
    anyio.run(main)
