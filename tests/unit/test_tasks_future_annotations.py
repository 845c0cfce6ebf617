"""Declarations in a module where every annotation is text (``from __future__ import annotations``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import pytest
from pydantic import BaseModel, Field

from taskq.errors import DeclarationError, InvalidArguments
from taskq.tasks.context import Context
from taskq.tasks.router import Router

if TYPE_CHECKING:
    from decimal import Decimal

router = Router[object](prefix="future.")


class Size(BaseModel):
    width: Annotated[int, Field(gt=0)]


@router.task
async def at_the_top(size: Size, *more: Size) -> list[Size]:
    return [size, *more]


def test_types_of_the_module_are_found() -> None:
    assert at_the_top.bind(Size(width=3)).body == b'{"size":{"width":3}}'
    with pytest.raises(InvalidArguments, match=r"size\.width"):
        at_the_top.bind(size={"width": 0})
    arguments = at_the_top.definition.signature.decode(b'{"size":{"width":1},"more":[{"width":2}]}')
    assert arguments.args == (Size(width=1), Size(width=2))


def test_types_of_the_surrounding_function_are_found() -> None:
    class Local(BaseModel):
        n: int

    @router.task(name="bare")
    async def bare(local: Local) -> Local:
        return local

    @router.task(name="with_context", context=True)
    async def with_context(ctx: Context[Local], local: list[Local]) -> None: ...

    assert bare.bind(Local(n=1)).body == b'{"local":{"n":1}}'
    assert with_context.bind([Local(n=1)]).body == b'{"local":[{"n":1}]}'
    assert bare.definition.signature.decode_result(b'{"n":2}') == Local(n=2)


def test_types_of_a_surrounding_class_are_found() -> None:
    class Shop:
        class Item(BaseModel):
            n: int

        @router.task(name="sell")
        async def sell(item: Item) -> None:  # type: ignore[name-defined, misc]
            ...

    assert Shop.sell.bind({"n": 1}).body == b'{"item":{"n":1}}'


def test_type_of_the_type_checker_alone_is_refused() -> None:
    async def pay(amount: Decimal) -> None: ...

    with pytest.raises(DeclarationError, match=r"'Decimal' is not defined here.*not under TYPE_CHECKING"):
        router.task(pay)


def test_type_defined_below_the_task_is_refused() -> None:
    async def early(value: Later) -> None: ...

    with pytest.raises(DeclarationError, match="'Later' is not defined here"):
        router.task(early)

    class Later(BaseModel):
        n: int


def test_model_with_a_type_that_does_not_exist_is_refused() -> None:
    class Unfinished(BaseModel):
        part: Nowhere  # type: ignore[name-defined]  # noqa: F821

    async def takes(value: Unfinished) -> None: ...

    with pytest.raises(DeclarationError, match="the parameters cannot travel as JSON"):
        router.task(takes)
