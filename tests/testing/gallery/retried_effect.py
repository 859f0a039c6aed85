"""A mail is sent and then noted; when the note fails the step is retried, and the mail is sent again."""

from tenacity import stop_after_attempt

from anyio_workflows import Context, Event, RetryPolicy, StartEvent, StopEvent, Workflow, step
from anyio_workflows.testing import Exploration

TWICE = RetryPolicy(stop=stop_after_attempt(2))


class SignedUp(Event): ...


class RotateToken(Event): ...


class Noted(Event): ...


class Rotated(Event): ...


class MailSent(Event): ...


class Broken(Workflow):
    def __init__(self) -> None:
        super().__init__()
        self.token = 1
        self.mails: list[str] = []

    @step
    async def begin(self, ctx: Context, ev: StartEvent) -> SignedUp | RotateToken | None:
        ctx.send_event(SignedUp())
        ctx.send_event(RotateToken())
        return None

    @step
    async def rotate(self, ctx: Context, ev: RotateToken) -> Rotated:
        self.token += 1
        return Rotated()

    async def note(self, ctx: Context, token: int) -> None:
        await ctx.checkpoint()  # stands for the request
        if token != self.token:
            raise PermissionError("the token is outdated")

    @step(retry_policy=TWICE)
    async def welcome(self, ctx: Context, ev: SignedUp) -> MailSent | Noted:
        token = self.token
        self.mails.append("welcome")
        await self.note(ctx, token)
        return Noted()

    @step(retry_policy=TWICE)
    async def note_mail(self, ctx: Context, ev: MailSent) -> Noted:
        await self.note(ctx, self.token)
        return Noted()

    @step
    async def end(self, ctx: Context, ev: Noted | Rotated) -> StopEvent | None:
        return None if ctx.collect_events(ev, [Noted, Rotated]) is None else StopEvent()


class Fixed(Broken):
    @step
    async def welcome(self, ctx: Context, ev: SignedUp) -> MailSent | Noted:
        self.mails.append("welcome")  # in a step of its own: it ends with it
        return MailSent()


def invariant(seen: Exploration) -> None:
    mails = seen.workflow.mails  # type: ignore[attr-defined]
    assert mails == ["welcome"], f"{len(mails)} mails were sent"
