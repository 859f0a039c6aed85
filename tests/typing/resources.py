"""How users declare what steps are given, under the type checkers; never run."""

import functools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Annotated, Self, assert_type

import attrs

from anyio_workflows import (
    Context,
    Resource,
    ResourceConfig,
    StartEvent,
    StopEvent,
    Workflow,
    step,
)


@attrs.define
class Settings:
    url: str


@attrs.define
class Client:
    url: str


class Pool:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def make_client(
    settings: Annotated[Settings, ResourceConfig("app.toml", "server", label="Server")],
) -> Client:
    assert_type(settings, Settings)
    return Client(url=settings.url)


async def make_number() -> int:
    return 3


@asynccontextmanager
async def open_pool(client: Annotated[Client, Resource(make_client)]) -> AsyncGenerator[Pool]:
    async with Pool() as pool:
        yield pool


@contextmanager
def open_file() -> Generator[list[str]]:
    yield []


PooledClient = Annotated[Pool, Resource(open_pool, scope="workflow")]


class Crawl(Workflow):
    @step
    async def crawl(
        self,
        ctx: Context,
        ev: StartEvent,
        client: Annotated[Client, Resource(make_client)],
        number: Annotated[int, Resource(make_number, cache=False)],
        pool: PooledClient,
        lines: Annotated[list[str], Resource(open_file, scope="run")],
        text: Annotated[str, Resource(functools.partial(str, 3))],
        settings: Annotated[Settings, ResourceConfig(config_file="app.toml", path_selector="server")],
    ) -> StopEvent:
        assert_type(client, Client)
        assert_type(number, int)
        assert_type(pool, Pool)
        assert_type(lines, list[str])
        assert_type(settings.url, str)
        return StopEvent(result=text)

    @step
    def in_a_thread(self, ev: StartEvent, client: Annotated[Client, Resource(make_client)]) -> None:
        assert_type(client.url, str)


@step(workflow=Crawl)
async def free(ev: StartEvent, client: Annotated[Client, Resource(make_client)]) -> None:
    assert_type(client, Client)


def misuse() -> None:
    Resource(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Resource(make_client, scope="application")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ResourceConfig(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
