"""S-COL-5: what a failed attempt did to collections is undone.

In a run without retries a failure is the end, so this is seen in the ledger: a step's attempt is `begin`,
`collect`, and `commit` or `withdraw`.
"""

from anyio_workflows import Event, StartEvent, StopEvent, Workflow, step
from anyio_workflows._ledger.delivery import Delivery
from anyio_workflows._ledger.ledger import Ledger


class Apple(Event):
    number: int


class Pear(Event):
    number: int


class Baskets(Workflow):
    @step
    async def start(self, ev: StartEvent) -> Apple | Pear:
        return Apple(number=0)

    @step
    async def collect(self, ev: Apple | Pear) -> StopEvent:
        return StopEvent()


class Attempts:
    """Deliveries to one collecting step, in work all at once."""

    def __init__(self) -> None:
        self.ledger = Ledger(Baskets()._current_plan(), lambda event: None)

    def begin(self, event: Event) -> Delivery:
        self.ledger.emit(event)
        delivery = self.ledger.begin(self.ledger.desk(1))
        assert delivery is not None
        return delivery

    def collect(self, delivery: Delivery, count: int) -> list[Event] | None:
        return self.ledger.collect(delivery, delivery.event, [type(delivery.event)] * count, None)

    def put(self, event: Event) -> Delivery:
        """Have an attempt add *event*, and more than there will be expected."""
        delivery = self.begin(event)
        assert self.collect(delivery, 9) is None
        return delivery

    def fail(self, delivery: Delivery) -> None:
        self.ledger.withdraw(delivery)

    def commit(self, delivery: Delivery) -> None:
        assert not self.ledger.commit(delivery, None)


def apples(*numbers: int) -> list[Event]:
    return [Apple(number=number) for number in numbers]


def test_s_col_5_what_a_failed_attempt_put_in_is_withdrawn() -> None:
    """The next attempt puts it in again: counted once."""
    attempts = Attempts()
    failing = attempts.put(Apple(number=1))
    attempts.fail(failing)
    later = attempts.begin(Apple(number=2))
    assert attempts.collect(later, 2) is None
    assert attempts.collect(later, 1) == apples(2)


def test_s_col_5_what_a_failed_attempt_took_is_back_at_its_place_in_the_order() -> None:
    """Before what came later, so that the batches are those without the failure."""
    attempts = Attempts()
    for number in (1, 2):
        attempts.commit(attempts.put(Apple(number=number)))
    failing = attempts.begin(Apple(number=3))
    assert attempts.collect(failing, 3) == apples(1, 2, 3)
    last = attempts.put(Apple(number=4))
    attempts.fail(failing)
    assert attempts.collect(last, 3) == apples(1, 2, 4)


def test_s_col_5_several_batches_of_a_failed_attempt_are_all_undone() -> None:
    """In whatever order they were taken."""
    attempts = Attempts()
    for number in (1, 2, 3, 4):
        attempts.commit(attempts.put(Apple(number=number)))
    failing = attempts.begin(Apple(number=5))
    assert attempts.collect(failing, 2) == apples(1, 2)
    assert attempts.collect(failing, 1) == apples(3)
    attempts.fail(failing)
    assert attempts.collect(attempts.begin(Apple(number=6)), 5) == apples(1, 2, 3, 4, 6)


def test_s_col_5_what_another_execution_has_taken_stays_taken() -> None:
    """The batch may be on its way to a human already."""
    attempts = Attempts()
    failing = attempts.put(Apple(number=1))
    taking = attempts.begin(Apple(number=2))
    assert attempts.collect(taking, 2) == apples(1, 2)
    attempts.fail(failing)
    attempts.commit(taking)
    assert attempts.collect(attempts.begin(Apple(number=3)), 2) is None


def test_s_col_5_an_attempt_does_not_put_in_again_what_another_execution_has_taken() -> None:
    """One event in two batches would be one event too many; it may still complete and take another batch."""
    attempts = Attempts()
    again = attempts.put(Apple(number=1))
    taking = attempts.begin(Apple(number=2))
    assert attempts.collect(taking, 2) == apples(1, 2)
    attempts.fail(again)
    assert attempts.collect(again, 1) is None
    for number in (3, 4):
        attempts.commit(attempts.put(Apple(number=number)))
    assert attempts.collect(again, 2) == apples(3, 4)


def test_s_col_5_what_was_committed_is_not_undone() -> None:
    """The step may fail at its next event; what it has taken before is gone for good."""
    attempts = Attempts()
    for number in (1, 2):
        delivery = attempts.begin(Apple(number=number))
        assert attempts.collect(delivery, 1) == apples(number)
        attempts.commit(delivery)
    failing = attempts.put(Apple(number=3))
    attempts.fail(failing)
    assert attempts.collect(attempts.begin(Apple(number=4)), 1) == apples(4)


def test_s_col_5_types_keep_their_own_order_when_a_batch_is_undone() -> None:
    """A batch of several types goes back to the lines it came from."""
    attempts = Attempts()
    attempts.commit(attempts.put(Pear(number=1)))
    attempts.commit(attempts.put(Apple(number=2)))
    failing = attempts.begin(Pear(number=3))
    both = [Apple, Pear, Pear]
    batch = [Apple(number=2), Pear(number=1), Pear(number=3)]
    assert attempts.ledger.collect(failing, failing.event, both, None) == batch
    attempts.fail(failing)
    last = attempts.begin(Pear(number=4))
    assert attempts.ledger.collect(last, last.event, both, None) == [
        Apple(number=2),
        Pear(number=1),
        Pear(number=4),
    ]
