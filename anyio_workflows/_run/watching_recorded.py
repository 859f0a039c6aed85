"""The ledger of a run that is recorded and observed; loaded by programs that do both."""

from typing import Any

from .._checkpoint.recorded import RecordedLedger
from .watching import Watch, WatchedMixin


class WatchedRecordedLedger(WatchedMixin, RecordedLedger):
    """A recorded ledger that tells what it does as well."""

    __slots__ = ("watch",)

    def __init__(self, watch: Watch, *as_ledger: Any, **options: Any) -> None:
        super().__init__(*as_ledger, **options)
        self.watch: Watch = watch
