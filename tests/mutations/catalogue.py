"""Faults of the engine, each of which some test has to notice."""

from typing import NamedTuple


class Change(NamedTuple):
    """One text of a module that is replaced."""

    module: str
    old: str
    """Stands in the module exactly once."""

    new: str


class Mutation(NamedTuple):
    """One fault."""

    changes: tuple[Change, ...]
    is_of_checkpoints: bool = False
    """Whether it shows when a run goes on, so that those tests are run first."""


LEDGER = "anyio_workflows._ledger.ledger"
COLLECTING = "anyio_workflows._ledger.collecting"
DESCENDING = "anyio_workflows._ledger.descending"
LINEAGE = "anyio_workflows._ledger.lineage"
ATTEMPTS = "anyio_workflows._ledger.attempts"
MATCHING = "anyio_workflows._ledger.matching"
RECORDED = "anyio_workflows._checkpoint.recorded"
RESTORING = "anyio_workflows._checkpoint.restoring"
SNAPSHOT = "anyio_workflows._checkpoint.snapshot"
INBOX = "anyio_workflows._run.inbox"
CREW = "anyio_workflows._run.crew"
RUN = "anyio_workflows._run.run"
STORE = "anyio_workflows._run.store"
DELAYS = "anyio_workflows._run.delays"
CONTEXT = "anyio_workflows._run.context"

MUTATIONS: dict[str, Mutation] = {
    "one_worker_too_many": Mutation(
        (
            Change(
                INBOX, "CapacityLimiter(self.node.num_workers)", "CapacityLimiter(self.node.num_workers + 1)"
            ),
        )
    ),
    "one_pending_too_many": Mutation(
        (Change(INBOX, "self.pending >= self.node.max_pending", "self.pending > self.node.max_pending"),)
    ),
    "lost_delivery": Mutation(
        (
            Change(
                LEDGER,
                "        desk.put(delivery)\n",
                "        if desk.queued == 2:\n            del self.pending[delivery.number]\n            return\n"
                "        desk.put(delivery)\n",
            ),
        )
    ),
    "begun_out_of_order": Mutation(
        (
            Change(
                INBOX,
                "        if delivery is not None:\n",
                "        if delivery is not None and not self.queued:\n",
            ),
        )
    ),
    "begun_after_the_stop": Mutation(
        (
            Change(
                RUN,
                "            self.tasks.cancel_scope.cancel()\n        return True",
                "            pass\n        return True",
            ),
            Change(
                CREW,
                "            return self.ledger.outcome is not None\n        self.flush()",
                "            return False\n        self.flush()",
            ),
        )
    ),
    "stall_not_noticed": Mutation(
        (
            Change(
                RUN,
                "        self._fail(WorkflowStalledError(self.name, report(self, None)), None)\n",
                "        return\n",
            ),
        )
    ),
    "input_stays_pending": Mutation(
        (
            Change(
                LEDGER,
                "        del self.pending[delivery.number]\n        delivery.desk.pending -= 1",
                "        delivery.desk.pending -= 1",
            ),
        )
    ),
    "collected_twice": Mutation(
        (
            Change(
                COLLECTING,
                "        for entry in taken:\n            del",
                "        for entry in taken[1:]:\n            del",
            ),
            Change(COLLECTING, "        self.size -= len(taken)\n", "        self.size -= len(taken) - 1\n"),
        )
    ),
    "collection_not_undone": Mutation(
        (Change(LEDGER, "            buffer.put_back(taken)\n", "            pass\n"),)
    ),
    "addition_not_undone": Mutation(
        (Change(LEDGER, "            if not buffer.withdraw(entry):\n", "            if False:\n"),)
    ),
    "answer_for_two": Mutation(
        (
            Change(
                LEDGER,
                "        self.answered.append(wait)\n",
                "        self.answered.append(wait)\n        self._keep_answer(number, event)\n",
            ),
        )
    ),
    "edits_at_once": Mutation((Change(STORE, "        if self._holder is None:\n", "        if True:\n"),)),
    "retry_sends_again": Mutation(
        (Change(ATTEMPTS, "= list(made.sent), list(made.prompts)", "= [], list(made.prompts)"),)
    ),
    "retry_collects_again": Mutation(
        (Change(MATCHING, "        record.spent = [*(record.spent or ()), *(delivery.spent or ())]\n", ""),)
    ),
    "retry_lost_when_due": Mutation(
        (
            Change(
                DELAYS,
                '        if delivery.number in self._coming:\n            gate.note(name, "is due")\n',
                '        if delivery.number % 3:\n            gate.note(name, "is due")\n',
            ),
        )
    ),
    "time_over_taken_for_an_answer": Mutation(
        (
            Change(
                CONTEXT,
                "        if wait.answer is None:\n            raise TimeoutError(",
                "        if wait.answer is None and wait.is_over:\n            raise TimeoutError(",
            ),
        )
    ),
    "fan_out_closes_too_early": Mutation(
        (
            Change(
                LINEAGE,
                "return not (self.pending or self.inner or self.is_filling)",
                "return not (len(self.pending) > 1 or self.inner or self.is_filling)",
            ),
        )
    ),
    "joined_too_late": Mutation(
        (Change(DESCENDING, "len(gathered) == node.joins.most:", "len(gathered) - 1 == node.joins.most:"),)
    ),
    "joined_twice": Mutation((Change(DESCENDING, "        fan_out.joined.add(join)\n", ""),)),
    "handler_outside_the_fan_out": Mutation(
        (
            Change(
                DESCENDING,
                "        self._lineage = Lineage(fan_out, rank, recoveries)\n        try:\n            self._recovering",
                "        self._lineage = Lineage(None, (), recoveries)\n        try:\n            self._recovering",
            ),
        )
    ),
    "cut_before_the_commit": Mutation(
        (
            Change(
                RECORDED,
                '        self._note(["commit", delivery.number])\n        given = whole or (None if output is None else self._document)\n'
                "        self.history.cut(delivery.desk.node.name, record.event, given)\n",
                "        given = whole or (None if output is None else self._document)\n"
                "        self.history.cut(delivery.desk.node.name, record.event, given)\n"
                '        self._note(["commit", delivery.number])\n',
            ),
        ),
        is_of_checkpoints=True,
    ),
    "cut_keeps_the_input": Mutation(
        (
            Change(
                RECORDED,
                '        self._note(["commit", delivery.number])\n',
                '        if output is None:\n            self._note(["commit", delivery.number])\n',
            ),
        ),
        is_of_checkpoints=True,
    ),
    "cut_keeps_what_was_taken": Mutation(
        (Change(SNAPSHOT, "            self._undo_takes(pending)\n", "            pass\n"),),
        is_of_checkpoints=True,
    ),
    "state_changed_again": Mutation(
        (
            Change(
                RECORDED,
                "        del changes[0]\n        return True\n",
                "        del changes[0]\n        return False\n",
            ),
        ),
        is_of_checkpoints=True,
    ),
    "prompted_again": Mutation(
        (Change(MATCHING, "None if record is None else record.has_asked(event)", "None"),),
        is_of_checkpoints=True,
    ),
    "sent_again_after_a_crash": Mutation(
        (
            Change(
                RESTORING,
                "    for target, event in record.sent:\n",
                "    record.sent = []\n    for target, event in record.sent:\n",
            ),
        ),
        is_of_checkpoints=True,
    ),
    "answer_lost_in_a_crash": Mutation(
        (Change(RESTORING, "    record.prompts = [\n", "    record.answers = {}\n    record.prompts = [\n"),),
        is_of_checkpoints=True,
    ),
    "delivery_lost_in_a_crash": Mutation(
        (
            Change(
                RESTORING, "key=lambda pending: pending.number):", "key=lambda pending: pending.number)[:3]:"
            ),
        ),
        is_of_checkpoints=True,
    ),
}
