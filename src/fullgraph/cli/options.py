"""Command line options made from the fields of `TrainConfig`, so that the two cannot drift apart."""

import inspect
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Annotated, Any, Literal, get_origin

import typer

from fullgraph.train.config import ENGINE, TrainConfig


def with_train_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give ``command`` one option per field of `TrainConfig` in place of its ``**options``.

    An option that the user leaves out arrives as None, so that a resumed run can tell it from one given.
    """
    signature = inspect.signature(command)
    own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
    added = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(each))
        for each in sorted(fields(TrainConfig), key=lambda each: each.name in ENGINE)
    ]
    command.__signature__ = signature.replace(parameters=[*own, *added])  # pyright: ignore[reportFunctionMemberAccess]
    command.__annotations__ = {each.name: each.annotation for each in [*own, *added]}
    return command


def _annotation(field: Field[Any]) -> Any:
    flag = "--" + field.name.replace("_", "-")
    names = (f"{flag}/--no-{flag[2:]}",) if field.type is bool else (flag,)
    option = typer.Option(
        *names,
        help=f"{field.metadata['help']}; default {str(field.default).lower()}",
        show_default=False,
        rich_help_panel="Training",
    )
    kind = str if get_origin(field.type) is Literal else field.type
    return Annotated[kind | None, option]  # pyright: ignore[reportOperatorIssue]
