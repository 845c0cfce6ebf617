"""A web application that produces jobs for `tests.support.program`, as `uvicorn tests.support.web:web`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from tests.support.program import app, echo, work


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with app:
        yield


web = FastAPI(lifespan=lifespan)


@web.get("/alive")
async def alive() -> bool:
    return True


@web.post("/jobs", status_code=202)
async def enqueue() -> dict[str, str]:
    return {"job": (await work.enqueue()).id}


@web.get("/echo/{number}")
async def call(number: int) -> dict[str, str | int]:
    job, returned = await echo.call(number)
    return {"job": job, "number": returned}
