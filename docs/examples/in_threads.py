import hashlib

import anyio

from anyio_workflows import Context, Event, StartEvent, StopEvent, Workflow, step


class Block(Event):
    number: int


class Hashed(Event):
    number: int
    digest: str


class Hashing(Workflow):
    @step
    async def split(self, ctx: Context, ev: StartEvent) -> Block | None:
        for number in range(ev.blocks):
            ctx.send_event(Block(number=number))
        await ctx.store.set("blocks", ev.blocks)
        return None

    @step(num_workers=2)
    def hash_block(self, ctx: Context, ev: Block) -> Hashed:  # plain def: runs in a worker thread
        digest = hashlib.sha256(bytes([ev.number]) * 1_000_000).hexdigest()
        hashed = Hashed(number=ev.number, digest=digest[:8])
        ctx.write_event_to_stream(hashed)  # hops to the event loop and back
        return hashed

    @step
    async def join(self, ctx: Context, ev: Hashed) -> StopEvent | None:
        blocks = ctx.collect_events(ev, {Hashed: await ctx.store.get("blocks")})
        if blocks is None:
            return None
        in_order = sorted(blocks, key=lambda block: block.number)
        return StopEvent(result=" ".join(block.digest for block in in_order))


async def main() -> None:
    print(await Hashing().run(blocks=3))


if __name__ == "__main__":
    anyio.run(main)
