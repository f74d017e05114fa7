"""A folder of image files as the image service, where there is no Glance.

Every file is an image. Its id is its name when that is a UUID (with or without a suffix), or one
made from its name, the same each time; it is called as the file without the suffix, and found by
either. What a name cannot say stands in a file beside it, `FILE.json`, in Glance's words: name,
disk_format, container_format, min_disk, min_ram, visibility, owner, protected, properties. Without
one an image is everybody's, and its format what the suffix says, or else what the file seems to be.

A link that leads out of the folder is no file.

An upload begins with that file beside (the image is then `queued`) and ends with a rename.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar, TypeVar
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec
import structlog

from breezeblock.images.base import Image, ImageService, NewImage
from breezeblock.images.inspection import SUFFIXES, detect
from breezeblock.images.scratch import Scratch, end_thin, write_thin
from breezeblock.model.errors import Conflict, NotFound, Unavailable

log = structlog.get_logger()

T = TypeVar("T")

CHUNK = 1 << 20
BESIDE = ".json"
_NAMESPACE = uuid5(NAMESPACE_URL, "breezeblock:image")


class Beside(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the file beside an image file may say."""

    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    owner: str | None = None
    visibility: str = "public"
    protected: bool = False
    properties: dict[str, str] = {}


class Folder(ImageService):
    """The image files of one directory, which need not be there yet."""

    checks_tokens: ClassVar[bool] = False

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._scratch = Scratch(directory, ".upload-")

    async def find(self, name_or_id: str, *, token: str | None = None) -> Image:  # noqa: ARG002
        return await _aside(lambda: self._find(name_or_id))

    async def read(self, image_id: str) -> AsyncIterator[bytes]:
        path = self.directory / (await _aside(lambda: self._file_of(image_id)))
        try:
            file = await _aside(lambda: self._own(path).open("rb"))
        except FileNotFoundError:
            raise NotFound("Image", image_id) from None
        with file:
            while chunk := await _aside(lambda: file.read(CHUNK)):
                yield chunk

    async def create(self, image: NewImage, *, token: str | None = None) -> Image:  # noqa: ARG002
        return await _aside(lambda: self._announce(image))

    async def write(self, image_id: str, content: AsyncIterator[bytes]) -> None:
        target = self.directory / (await _aside(lambda: self._file_of(image_id)))
        if self._has(target):
            return
        await _aside(self._scratch.clear)
        with self._scratch.file(image_id) as (path, file):
            async for chunk in content:
                await _aside(partial(write_thin, file, chunk))
            await _aside(partial(end_thin, file))
            await _aside(lambda: os.fsync(file.fileno()))
            await _aside(lambda: self._publish(path, target, image_id))

    async def discard(self, image_id: str) -> None:
        with contextlib.suppress(NotFound, FileNotFoundError):
            await _aside(lambda: self._withdraw(image_id))

    # -- files ---------------------------------------------------------------------------------

    def _names(self) -> list[str]:
        """The images' files; announced ones are not there yet."""
        try:
            there = {path.name for path in self.directory.iterdir() if self._has(path)}
        except FileNotFoundError:
            return []
        seen = {name for name in there if not name.startswith(".")}
        announced = {name.removesuffix(BESIDE) for name in seen if name.endswith(BESIDE)}
        files = {name for name in seen if not name.endswith(BESIDE)}
        return sorted(files | {name for name in announced if _own_id(name)})

    def _leads_out(self, path: Path) -> bool:
        """Whether it is a link to a file elsewhere: whoever may put images here must not show
        what our user may read there."""
        if not path.is_symlink():
            return False
        return not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.directory))

    def _own(self, path: Path) -> Path:
        """The path. Raises FileNotFoundError when it leads out of the folder."""
        if self._leads_out(path):
            raise FileNotFoundError(path)
        return path

    def _has(self, path: Path) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._own(path).is_file()
        return False

    def _find(self, wanted: str) -> Image:
        names = self._names()
        with contextlib.suppress(ValueError):
            ident = str(UUID(wanted))
            for name in names:
                if _id_of(name) == ident:
                    return self._image(name)
        found = [name for name in names if name == wanted] or [
            name for name in names if self._called(name, self._beside(name)) == wanted
        ]
        if not found:
            raise NotFound("Image", wanted)
        if len(found) > 1:
            raise Conflict(
                f"{len(found)} images have the name {wanted}: {', '.join(found)}; say which."
            )
        return self._image(found[0])

    def _file_of(self, image_id: str) -> str:
        for name in self._names():
            if _id_of(name) == image_id:
                return name
        raise NotFound("Image", image_id)

    def _image(self, name: str) -> Image:
        beside = self._beside(name)
        size, virtual_size, seems = self._look(name)
        said = SUFFIXES.get(Path(name).suffix.lower().lstrip("."))
        told = beside or Beside()
        return Image(
            id=_id_of(name),
            name=self._called(name, beside),
            status="queued" if size is None else "killed" if beside is None else "active",
            disk_format=told.disk_format or said or seems,
            container_format=told.container_format or "bare",
            size=size,
            virtual_size=virtual_size,
            min_disk=told.min_disk,
            min_ram=told.min_ram,
            owner=told.owner,
            visibility=told.visibility,
            protected=told.protected,
            properties=told.properties,
        )

    def _look(self, name: str) -> tuple[int | None, int | None, str | None]:
        """The file's size, the disk's size in it, and the format that it seems to have."""
        path = self.directory / name
        try:
            self._own(path)
            seems, virtual_size = detect(path)
            return path.stat().st_size, virtual_size, seems
        except FileNotFoundError:
            return None, None, None

    def _beside(self, name: str) -> Beside | None:
        """What is said beside the file; None when that cannot be understood."""
        path = self.directory / f"{name}{BESIDE}"
        if self._leads_out(path):
            log.error("image description", path=str(path), error="leads out of the folder")
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Beside)
        except FileNotFoundError:
            return Beside()
        except msgspec.DecodeError as error:
            log.error("image description", path=str(path), error=str(error))
            return None

    def _called(self, name: str, beside: Beside | None) -> str:
        return (beside.name if beside else None) or Path(name).stem

    # -- uploads -------------------------------------------------------------------------------

    def _announce(self, image: NewImage) -> Image:
        self.directory.mkdir(parents=True, exist_ok=True)
        with self._one_at_a_time():
            try:
                return self._image(self._file_of(image.id))
            except NotFound:
                name = f"{image.id}.{image.disk_format}"
            told = msgspec.to_builtins(image)
            beside = msgspec.convert({**told, "properties": dict(image.properties)}, Beside)
            with self._scratch.file(image.id) as (path, file):
                file.write(msgspec.json.format(msgspec.json.encode(beside)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
                path.rename(self.directory / f"{name}{BESIDE}")
            self._sync()
            return self._image(name)

    def _publish(self, path: Path, target: Path, image_id: str) -> None:
        """The bytes are whole: now they are the image's, if it is still wanted."""
        with self._one_at_a_time():
            if self._file_of(image_id) == target.name and not self._has(target):
                path.rename(target)
                self._sync()

    def _withdraw(self, image_id: str) -> None:
        with self._one_at_a_time():
            name = self._file_of(image_id)
            if not self._has(self.directory / name):
                (self.directory / f"{name}{BESIDE}").unlink(missing_ok=True)
                self._sync()
        self._scratch.clear()

    @contextlib.contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        """Between processes, too: what is decided about a file still holds when it is done."""
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sync(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _own_id(name: str) -> str | None:
    """The UUID that a file is named by."""
    for text in (name, Path(name).stem):
        with contextlib.suppress(ValueError):
            return str(UUID(text))
    return None


def _id_of(name: str) -> str:
    return _own_id(name) or str(uuid5(_NAMESPACE, name))


async def _aside(work: Callable[[], T]) -> T:
    """Work with files, off the event loop. Raises Unavailable when the directory fails us."""
    try:
        return await asyncio.to_thread(work)
    except FileNotFoundError:
        raise
    except OSError as error:
        log.error("image folder", error=str(error))
        raise Unavailable(f"The image folder cannot be used: {error.strerror}.") from error
