"""What the engine tells the log: one logger, ``anyio_workflows``.

`logging` is loaded when there is something to say; importing it would be a tenth of our import, and most
programs on trio do not have it loaded.
"""

NAME = "anyio_workflows"


def info(message: str, *arguments: object) -> None:
    """Note something that a user asked to be told: ``Workflow(verbose=True)``."""
    import logging  # noqa: PLC0415  # see the module's docstring

    logging.getLogger(NAME).info(message, *arguments)


def warning(message: str, *arguments: object) -> None:
    """Note something that a user should look at."""
    import logging  # noqa: PLC0415  # see the module's docstring

    logging.getLogger(NAME).warning(message, *arguments)


def error(message: str, *arguments: object, error: BaseException | None) -> None:
    """Report *error*, which reaches nobody otherwise."""
    import logging  # noqa: PLC0415  # see the module's docstring

    logging.getLogger(NAME).error(message, *arguments, exc_info=error)
