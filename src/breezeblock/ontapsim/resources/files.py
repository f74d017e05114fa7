"""Files in FlexVols: /storage/volumes/{uuid}/files, and clones and copies of them."""

from __future__ import annotations

import os
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

from breezeblock.ontapsim import errors, files, folders, forms
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.layout import LUNS
from breezeblock.ontapsim.model import FilePolicy, FlexVol, Policy
from breezeblock.ontapsim.query import page, project
from breezeblock.ontapsim.resources.common import policy_named, reference
from breezeblock.ontapsim.rest import API, Call, Reply, Resource, Route, nothing

FIELDS = (
    "path name type size bytes_used unix_permissions owner_id group_id inode_number"
    " hard_links_count creation_time modified_time changed_time accessed_time is_empty"
    " target volume qos_policy"
)
OPTIONS = ("return_metadata", "recurse", "byte_offset", "length")
KEYS = ("path", "name", "type")
TYPES = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "symlink"}
PATHS = "/storage/volumes/{volume}/files"


def _volume(call: Call) -> FlexVol:
    return call.array.volume_by_uuid(call.params["volume"], call.svm_uuid)


def _document(call: Call, volume: FlexVol, folder: str, path: Path) -> Document:
    status = path.lstat()
    place = f"{folder}/{path.name}" if folder else path.name
    policy = call.array.state.find(FilePolicy, f"{volume.uuid}/{place}")
    document: Document = {
        "path": folder or "/",
        "name": path.name,
        "volume": reference(volume),
        "type": TYPES.get(stat.S_IFMT(status.st_mode), "file"),
        "size": status.st_size,
        "bytes_used": status.st_blocks * 512,
        "unix_permissions": int(f"{stat.S_IMODE(status.st_mode):o}"),
        "owner_id": status.st_uid,
        "group_id": status.st_gid,
        "inode_number": status.st_ino,
        "hard_links_count": status.st_nlink,
        "modified_time": _time(status.st_mtime),
        "changed_time": _time(status.st_ctime),
        "accessed_time": _time(status.st_atime),
    }
    if path.is_symlink():
        document["target"] = str(path.readlink())
    if policy:
        document["qos_policy"] = reference(call.array.state.get(Policy, policy.policy))
    return document


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _records(call: Call) -> list[Document]:
    """A folder's entries, or the one file that was named."""
    volume = _volume(call)
    place = call.params.get("path", "").strip("/")
    found = folders.existing(call.array, volume, place)
    single = call.query.flag("return_metadata", False) or not found.is_dir() or found.is_symlink()
    if place and single:
        return [_document(call, volume, place.rpartition("/")[0], found)]
    return [
        _document(call, volume, place, path)
        for path in sorted(found.iterdir())
        if place or path.name != LUNS
    ]


def _read(call: Call) -> Reply:
    place = call.params["path"]
    path = folders.regular(folders.existing(call.array, _volume(call), place), place)
    start = call.query.number("byte_offset", 0, 0, 1 << 62)
    length = call.query.number("length", forms.MOST, 0, forms.MOST)
    with path.open("rb") as file:
        return Reply(body=forms.write(os.pread(file.fileno(), length, start)))


def _show(call: Call) -> Reply:
    fields = call.query.fields()
    if call.query.flag("return_metadata", False):
        (document,) = _records(call) if call.params["path"].strip("/") else [{}]
        return Reply(body=project(document, [*KEYS, *fields] if fields else ["*"], ()))
    cut = page(_records(call), call.query, lambda d: str(d["name"]), API + call.path)
    shown = [project(document, [*KEYS, *fields], ()) for document in cut.records]
    links = {"_links": {"next": {"href": cut.next}}} if cut.next else {}
    return Reply(body={"records": shown, "num_records": len(shown), **links})


def _create(call: Call) -> Reply:
    volume, place = _volume(call), call.params["path"]
    path = folders.locate(call.array, volume, place, change=True)
    if path.exists() or path.is_symlink():
        raise ApiError(409, "6684675", f'"{place}" exists already.', "path")
    if not path.parent.is_dir():
        raise errors.no_such_file(place)
    data = call.form.data
    if data is not None:
        path.write_bytes(data)
        return Reply(201)
    call.body.only(FIELDS.split())
    target = call.body.text("target")
    if target:
        path.symlink_to(target)
    elif call.body.choice("type", ("directory", "file")) == "directory":
        path.mkdir()
    else:
        files.make(path, call.body.size("size") or 0)
    _permissions(call.body, path)
    return Reply(201)


def _permissions(body: Body, path: Path) -> None:
    mode = body.number("unix_permissions")
    if mode is not None:
        try:
            path.chmod(int(str(mode), 8))
        except ValueError:
            raise errors.invalid("unix_permissions", mode) from None


def _write(call: Call) -> Reply:
    place = call.params["path"]
    path = folders.existing(call.array, _volume(call), place, change=True)
    start = call.query.number("byte_offset", 0, 0, 1 << 62)
    with folders.regular(path, place).open("r+b") as file:
        os.pwrite(file.fileno(), call.form.data or b"", start)
    return Reply()


def _modify(call: Call) -> Reply:
    volume, place = _volume(call), call.params["path"].strip("/")
    call.body.only(FIELDS.split())
    path = folders.existing(call.array, volume, place, change=True)
    size = call.body.size("size")
    if size is not None:
        files.resize(folders.regular(path, place), size)
    _permissions(call.body, path)
    if call.body.has("qos_policy"):
        policy = policy_named(call.array, volume.svm, call.body)
        key = f"{volume.uuid}/{place}"
        old = call.array.state.find(FilePolicy, key)
        if policy:
            call.array.state.put(FilePolicy(uuid=key, policy=policy))
        elif old:
            call.array.state.drop(old)
    new = call.body.text("path")
    if new:
        _rename(call, volume, path, unquote(new).strip("/"))
    return Reply()


def _rename(call: Call, volume: FlexVol, path: Path, new: str) -> None:
    target = folders.locate(call.array, volume, new, change=True)
    if target.exists() or target.is_symlink():
        raise ApiError(409, "6684675", f'"{new}" exists already.', "path")
    if not target.parent.is_dir():
        raise errors.no_such_file(new)
    path.rename(target)
    root = call.array.layout.flexvol(volume.uuid)
    key = f"{volume.uuid}/{path.relative_to(root)}"
    policy = call.array.state.find(FilePolicy, key)
    if policy:
        call.array.state.drop(policy)
        call.array.state.put(FilePolicy(uuid=f"{volume.uuid}/{new}", policy=policy.policy))


def _remove(call: Call) -> Reply:
    volume, place = _volume(call), call.params["path"].strip("/")
    path = folders.existing(call.array, volume, place, change=True)
    if path == call.array.layout.flexvol(volume.uuid):
        raise errors.invalid("path", place)
    if path.is_dir() and not path.is_symlink():
        if call.query.flag("recurse", False):
            shutil.rmtree(path)
        elif any(path.iterdir()):
            raise ApiError(409, "6684687", f'The directory "{place}" is not empty.', "path")
        else:
            path.rmdir()
    else:
        call.array.remove_file(path)
    policy = call.array.state.find(FilePolicy, f"{volume.uuid}/{place}")
    if policy:
        call.array.state.drop(policy)
    return Reply()


def clone(call: Call, volume: FlexVol, source: Path, place: str, overwrite: bool) -> None:
    """Put a copy of a file of this moment at another path of the FlexVol."""
    target = folders.locate(call.array, volume, place, change=True)
    if target.exists() and not overwrite:
        raise ApiError(409, "13565952", f'Clone failed: "{place}" exists already.')
    if not target.parent.is_dir() or target.is_dir():
        raise errors.no_such_file(place)
    with call.array.still():
        files.copy(source, target)
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
    target.chmod(stat.S_IMODE(status.st_mode))


def _volume_of(call: Call, part: Body) -> FlexVol:
    """The FlexVol that a part of a body names; names of two SVMs' FlexVols may be the same."""
    uuid, svm = part.text("volume.uuid"), part.text("svm.name")
    if uuid:
        return call.array.volume_by_uuid(uuid, call.svm_uuid)
    name = part.need("volume.name")
    for volume in call.array.state.named(FlexVol, name):
        if call.sees(volume.svm) and svm in (None, call.array.svm(None, volume.svm).name):
            return volume
    raise errors.no_such_volume(name, "volume.name")


def _clone(call: Call) -> Reply:
    call.body.only(
        [
            "volume",
            "svm",
            "source_path",
            "destination_path",
            "overwrite_destination",
            "is_backup",
            "autodelete",
            "no_guarantee",
            "token_uuid",
        ]
    )
    volume = _volume_of(call, call.body)
    place = call.body.need("source_path")
    source = folders.regular(folders.existing(call.array, volume, place), place)
    overwrite = call.body.flag("overwrite_destination") or False
    clone(call, volume, source, call.body.need("destination_path"), overwrite)
    return Reply(201)


def _copy(call: Call) -> Reply:
    """Files across FlexVols; each as it is now."""
    call.body.only(
        [
            "files_to_copy",
            "cutover_time",
            "hold_quiescence",
            "max_throughput",
            "reference_cutover_time",
            "reference_path",
        ]
    )
    work = list(call.body.parts("files_to_copy"))
    if not work:
        raise errors.required("files_to_copy")
    for item in work:
        source, target = item.part("source"), item.part("destination")
        from_volume, to_volume = _volume_of(call, source), _volume_of(call, target)
        place = _relative(source.need("path"), from_volume)
        path = folders.regular(folders.existing(call.array, from_volume, place), place)
        destination = _relative(target.need("path"), to_volume)
        if folders.locate(call.array, to_volume, destination, change=True).is_dir():
            destination = f"{destination}/{path.name}"
        clone(call, to_volume, path, destination, overwrite=False)
    return Reply(201)


def _relative(path: str, volume: FlexVol) -> str:
    """A path in the FlexVol; its own name may come first."""
    return path.strip("/").removeprefix(f"{volume.name}/")


RESOURCE = Resource(
    path=PATHS, fields=FIELDS, keys=KEYS, identity=("name",), options=OPTIONS, records=_records
)
SPLITS = Resource(
    path="/storage/file/clone/split-status",
    fields="volume svm unsplit_size pending_splits",
    identity=("volume.uuid",),
    keys=("volume",),
    records=nothing,
)
ONE = f"{PATHS}/{{path*}}"
ROUTES = [
    *(route for route in RESOURCE.routes() if route.path == PATHS),
    Route("GET", ONE, _read, form=True),
    Route("GET", ONE, _show),
    Route("POST", ONE, _create, form=True),
    Route("POST", ONE, _create),
    Route("PATCH", ONE, _write, form=True),
    Route("PATCH", ONE, _modify),
    Route("DELETE", ONE, _remove),
    *SPLITS.routes(),
    Route("POST", "/storage/file/clone", _clone, job=True),
    Route("POST", "/storage/file/copy", _copy, job=True),
]
