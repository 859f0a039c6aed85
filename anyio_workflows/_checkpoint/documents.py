"""Let cattrs write and read frozen attrs classes of ours, in which events of a workflow stand.

What an event is, and what its values may be, is decided by the workflow's `Converter`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from .._errors import CheckpointError
from .._events import Event
from .converter import Converter
from .refusal import Refused, wrong
from .scalars import CODECS

if TYPE_CHECKING:
    import cattrs

DocumentT = TypeVar("DocumentT")


class Documents:
    """What writes and reads frozen attrs classes whose fields are single values, events, and tuples of such.

    A member without default is required, and one that is no field is refused.
    """

    def __init__(self, converter: Converter) -> None:
        self._converter = converter
        self._hooks = self._made()

    def unstructure(self, document: Any) -> Any:
        """Return *document* as JSON types.

        Raises:
            CheckpointError: An event in it can't be written.
        """
        try:
            return self._hooks.unstructure(document)
        except Refused as refused:
            raise refused.at(type(document).__qualname__) from None

    def structure(self, document: Any, cls: type[DocumentT], *, where: str) -> DocumentT:
        """Return the *cls* that was written as *document*; *where* is what it is called in an error.

        Raises:
            CheckpointError: It is no such document.
        """
        from cattrs import BaseValidationError, transform_error  # noqa: PLC0415  # slow, and only for checkpoints

        try:
            if type(document) is not dict:
                raise wrong(document, f"an object with the fields of {cls.__qualname__}")
            return self._hooks.structure(document, cls)
        except Refused as refused:
            raise refused.at(where) from None
        except BaseValidationError as error:
            first = transform_error(error, path="", format_exception=_reason)[0]
            reason, _, path = first.rpartition(" @ ")
            raise CheckpointError(reason, f"{where}{path}") from error

    def _made(self) -> "cattrs.Converter":
        from cattrs import Converter as Hooks  # noqa: PLC0415  # slow, and only for checkpoints
        from cattrs.cols import homogenous_tuple_structure_factory  # noqa: PLC0415  # see above

        hooks = Hooks(forbid_extra_keys=True)
        for cls, codec in CODECS.items():
            hooks.register_unstructure_hook(cls, codec.write)
            hooks.register_structure_hook(cls, _reading(codec.read))
        hooks.register_unstructure_hook(Event, self._converter.unstructure_event)
        hooks.register_structure_hook_func(
            lambda cls: isinstance(cls, type) and issubclass(cls, Event), self._read_event
        )

        def tuples(kind: Any) -> Callable[[Any, Any], Any]:
            read = homogenous_tuple_structure_factory(kind, hooks)

            def checked(document: Any, cls: Any) -> Any:
                # cattrs takes a text for its letters, and an object for its keys.
                if type(document) is not list:
                    raise wrong(document, "a list")
                return read(document, cls)

            return checked

        hooks.register_structure_hook_factory(_is_tuple_of_any_length, tuples)
        return hooks

    def _read_event(self, document: Any, cls: Any) -> Any:
        event = self._converter.structure_event(document, where="")
        if not isinstance(event, cls):
            raise wrong(event, cls.__qualname__)
        return event


def _is_tuple_of_any_length(kind: Any) -> bool:
    origin: object = get_origin(kind)
    return origin is tuple and get_args(kind)[1:] == (Ellipsis,)


def _reading(read: Callable[[Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda document, _: read(document)


def _reason(error: BaseException, _: Any) -> str:
    match error:
        case Refused():
            return error.reason
        case CheckpointError():
            return str(error)
        case KeyError():
            return "it is missing"
        case _:
            return str(error)
