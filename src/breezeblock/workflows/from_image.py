"""What the workflows that fill a volume with an image have in common: the image is fetched, and the
driver waited for, in one step, so that the file is there as long as somebody reads it.

Such a step may last for hours (`telling`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from breezeblock.drivers.base import Image, StillWorking, TemporaryError
from breezeblock.images.inspection import GIB, Refused
from breezeblock.images.staging import Staged
from breezeblock.model.errors import Failure, NotFound, OperationFailed, Unavailable
from breezeblock.operations.workflow import Run
from breezeblock.workflows.telling import Telling

AGAIN = 15.0
"""Seconds until an image service that does not answer is asked again."""


class Overtaken(Exception):
    """The work was cut short, or somebody else carries it on: it is not to be done any more."""


class Filling:
    """One run of such a step. Its progress: half of it is fetching, half writing."""

    def __init__(self, run: Run[Any]) -> None:
        self._run = run
        self._telling = Telling(run)

    @contextlib.asynccontextmanager
    async def image(
        self, image_id: str, size: int, chosen: Mapping[str, str]
    ) -> AsyncIterator[Image]:
        """The image as a driver takes it, fit for `size` GiB; its file goes with the body.

        `chosen` is what the image service said of it when the request was accepted.
        Raises OperationFailed when this image will not do, whatever the backend; TemporaryError.
        """
        async with contextlib.AsyncExitStack() as stack:
            with _in_our_words():
                staged = await stack.enter_async_context(self._fetch(image_id, chosen))
                if staged.virtual_bytes > size * GIB:
                    raise Refused(
                        f"The disk in it has {staged.virtual_bytes} bytes, "
                        f"which do not fit into {size} GiB."
                    )
            yield Image(staged.path, staged.format, staged.virtual_bytes)

    async def driver(self, call: Callable[[], Awaitable[None]]) -> None:
        """Call the driver until it has done it. Raises what it raises, but not StillWorking."""
        while True:
            try:
                return await call()
            except StillWorking as error:
                await self._telling.second_half(error.progress or 0)
                await asyncio.sleep(error.retry_after)

    def _fetch(
        self, image_id: str, chosen: Mapping[str, str]
    ) -> AbstractAsyncContextManager[Staged]:
        operation, staging = self._run.operation, self._run.doors.staging
        name = f"{operation.id}-{operation.epoch}"
        fetched: AbstractAsyncContextManager[Staged] = staging.fetch(
            image_id, name, self._telling.first_half, chosen
        )
        return fetched


@contextlib.contextmanager
def _in_our_words() -> Iterator[None]:
    """What went wrong with the image, as the engine understands it."""
    try:
        yield
    except (Refused, NotFound) as error:
        raise OperationFailed(_refused(str(error))) from error
    except Unavailable as error:
        raise TemporaryError(str(error), retry_after=AGAIN) from error
    except OSError as error:
        raise TemporaryError(f"No room for the image: {error}.", retry_after=AGAIN) from error


def _refused(why: str) -> Failure:
    return Failure(
        code="image-refused",
        message="No volume can be made of the image.",
        cause=why,
        remedy="Choose another image, or upload this one again.",
        private=True,  # what other programs say of the file may name it
    )
