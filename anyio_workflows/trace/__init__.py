"""What runs have done, recorded to be looked at: give a `TraceRecorder` as an observer, and open its page."""

from .recorder import TraceRecorder

__all__ = ("TraceRecorder",)
