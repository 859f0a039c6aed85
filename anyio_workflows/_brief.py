"""Show a value of the user's in a message: never long, and without failing if its `repr` does."""

import reprlib

_MOST = 200
"""Characters of one value; a message that quotes a whole document helps nobody."""

_shortener = reprlib.Repr()
_shortener.maxother = _shortener.maxstring = _shortener.maxlong = _MOST


def brief(value: object) -> str:
    """Return what `repr` says of *value*, cut in the middle; if it raises, its class and address."""
    return _shortener.repr(value)
