"""How a resource becomes routes: what all of ONTAP's collections do alike.

A resource says which documents there are and how one is made, changed and removed; listing,
filtering, paging, changing by filter, records in the answer and `Location` are here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from breezeblock.ontapsim import errors
from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.body import Body, Document
from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.model import Svm
from breezeblock.ontapsim.query import Query, matches, page, project, values, without

BODY_CONTROLS = frozenset({"_links", "records", "return_records", "return_timeout"})
API = "/api"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller may see: the whole cluster, or one SVM (its account's, or that of the
    header `X-Dot-SVM-Name`)."""

    svm: Svm | None = None


@dataclass(frozen=True, slots=True)
class Form:
    """What was sent as multipart/form-data, and whether the answer is to be such."""

    data: bytes | None = None
    wanted: bool = False


@dataclass(frozen=True)
class Call:
    """A request that is allowed, on its way to a handler."""

    array: Array
    path: str
    query: Query = field(default_factory=Query)
    body: Body = field(default_factory=lambda: Body({}))
    scope: Scope = Scope()
    params: Mapping[str, str] = field(default_factory=dict)
    form: Form = Form()

    def sees(self, svm: str) -> bool:
        """Whether things of the SVM with that UUID are there for this caller."""
        return self.scope.svm is None or self.scope.svm.uuid == svm

    @property
    def svm_uuid(self) -> str | None:
        return self.scope.svm.uuid if self.scope.svm else None

    def svm(self) -> Svm:
        """The SVM that the body means, or the caller's own."""
        name, uuid = self.body.text("svm.name"), self.body.text("svm.uuid")
        own = self.scope.svm
        if name is None and uuid is None:
            if own is None:
                raise errors.svm_required()
            return own
        svm = self.array.svm(name, target="svm.name") if name else self.array.svm(None, uuid)
        if uuid and svm.uuid != uuid:
            raise errors.svm_mismatch()
        if not self.sees(svm.uuid):
            raise errors.no_such_svm(svm.name)
        return svm


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer that is not JSON."""

    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    status: int = 200
    body: Document | Raw = field(default_factory=dict)
    location: str | None = None


Handler = Callable[[Call], Reply]
Identity = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path (`{name}` is a segment, `{name*}` all that follow)."""

    method: str
    path: str
    handler: Handler
    job: bool = False
    """It is accepted, and done as a job."""
    cluster: bool = False
    """Not for callers who see one SVM only."""
    form: bool = False
    """For requests with, or for, multipart/form-data only; it comes before its twin without."""


def _missing(identity: str) -> ApiError:
    return errors.no_such_entry(identity)


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A collection. `fields` are the names its documents may have at the top, `keys` what is shown
    unasked, `costly` what is shown only when named; `options` are parameters that filter nothing.
    """

    path: str
    fields: str
    records: Callable[[Call], list[Document]]
    identity: tuple[str, ...] = ("uuid",)
    keys: tuple[str, ...] = ("uuid", "name")
    costly: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    create: Callable[[Call], Identity] | None = None
    modify: Callable[[Call, Document], None] | None = None
    remove: Callable[[Call, Document], None] | None = None
    jobs: tuple[str, ...] = ()
    cluster: bool = False
    missing: Callable[[str], ApiError] = _missing

    def routes(self) -> list[Route]:
        one = self.path + "".join(f"/{{{name}}}" for name in self.identity)
        table: list[tuple[str, str, Handler, object]] = [
            ("GET", self.path, self.listing, self.records),
            ("GET", one, self._show, self.records),
            ("POST", self.path, self._post, self.create),
            ("PATCH", one, self._patch, self.modify),
            ("PATCH", self.path, self._patch_all, self.modify),
            ("DELETE", one, self._delete, self.remove),
            ("DELETE", self.path, self._delete_all, self.remove),
        ]
        return [
            Route(method, path, handler, job=method in self.jobs, cluster=self.cluster)
            for method, path, handler, there in table
            if there
        ]

    # Reading

    def listing(self, call: Call) -> Reply:
        found = self._matching(call)
        if not call.query.flag("return_records", True):
            return Reply(body={"records": [], "num_records": len(found)})
        fields = call.query.fields()
        self._check_fields(fields)
        cut = page(found, call.query, self._key, API + call.path)
        asked = [*self.keys, *fields, *(name for name, _ in self._filters(call))]
        body: Document = {
            "records": [project(document, asked, self.costly) for document in cut.records],
            "num_records": len(cut.records),
        }
        if cut.next:
            body["_links"] = {"next": {"href": cut.next}}
        return Reply(body=body)

    def _show(self, call: Call) -> Reply:
        self._check_fields(call.query.fields())
        document = self._one(call)
        fields = call.query.fields()
        shown = (
            project(document, [*self.keys, *fields], self.costly)
            if fields
            else without(document, self.costly)
        )
        href = API + self._path_of(call, document)
        return Reply(body=shown | {"_links": {"self": {"href": href}}})

    def _filters(self, call: Call) -> tuple[tuple[str, str], ...]:
        filters = call.query.filters(self.options)
        known = self.fields.split()
        for name, _ in filters:
            if name.split(".")[0] not in known:
                raise errors.unexpected(name)
        return filters

    def _check_fields(self, fields: tuple[str, ...]) -> None:
        for name in fields:
            if name.split(".")[0] not in ("*", "**", "_links", *self.fields.split()):
                text = f'The value "{name}" is invalid for field "fields" (<field,...>)'
                raise ApiError(400, "262197", text, "fields")

    def _matching(self, call: Call) -> list[Document]:
        filters = self._filters(call)
        return [document for document in self.records(call) if matches(document, filters)]

    def _one(self, call: Call) -> Document:
        wanted = tuple(call.params[name] for name in self.identity)
        for document in self.records(call):
            if self._identity(document) == wanted:
                return document
        raise self.missing("/".join(wanted))

    def _identity(self, document: Document) -> Identity:
        return tuple(str(values(document, name.split("."))[0]) for name in self.identity)

    def _key(self, document: Document) -> str:
        name = document.get("name")
        return "\n".join([name if isinstance(name, str) else "", *self._identity(document)])

    def _path_of(self, call: Call, document: Document) -> str:
        path = self.path
        for name, value in call.params.items():
            path = path.replace(f"{{{name}}}", value)
        return path + "".join(f"/{quote(part, safe='')}" for part in self._identity(document))

    # Changing

    def _post(self, call: Call) -> Reply:
        assert self.create is not None
        self._only_controls(call)
        many = "records" in call.body.document
        bodies = list(call.body.parts("records")) if many else [call.body]
        made = []
        for body in bodies:
            body.only({*self.fields.split(), *BODY_CONTROLS})
            made.append(self.create(replace(call, body=body)))
        documents = [d for d in self.records(call) if self._identity(d) in made]
        body_of_reply: Document = {"num_records": len(documents)}
        if call.query.flag("return_records", False):
            body_of_reply["records"] = [without(d, self.costly) for d in documents]
        location = API + self._path_of(call, documents[0]) if len(documents) == 1 else None
        return Reply(201, body_of_reply, location)

    def _patch(self, call: Call) -> Reply:
        assert self.modify is not None
        self._only_controls(call)
        call.body.only({*self.fields.split(), *BODY_CONTROLS})
        self.modify(call, self._one(call))
        return Reply()

    def _patch_all(self, call: Call) -> Reply:
        assert self.modify is not None
        call.body.only({*self.fields.split(), *BODY_CONTROLS})
        return self._each(call, self.modify)

    def _delete(self, call: Call) -> Reply:
        assert self.remove is not None
        self._only_controls(call)
        self.remove(call, self._one(call))
        return Reply()

    def _delete_all(self, call: Call) -> Reply:
        assert self.remove is not None
        return self._each(call, self.remove)

    def _each(self, call: Call, work: Callable[[Call, Document], None]) -> Reply:
        """Change all that match. A request without a filter would change everything: refused."""
        if not self._filters(call):
            raise ApiError(400, "262186", "A query is required to change a collection.")
        found = self._matching(call)
        exact = not any("*" in text for _, text in self._filters(call))
        if not found and exact:
            raise errors.no_such_entry()
        for document in found:
            work(call, document)
        return Reply(body={"num_records": len(found)})

    def _only_controls(self, call: Call) -> None:
        for name, _ in call.query.filters(self.options):
            raise errors.unexpected(name)


def nothing(_: Call) -> list[Document]:
    """The records of a collection that is always empty."""
    return []


def segments(raw_path: str) -> tuple[str, ...]:
    """A path as it was sent, cut at slashes (doubled and trailing ones count as one)."""
    return tuple(part for part in raw_path.split("/") if part)


def match(template: str, parts: tuple[str, ...]) -> dict[str, Any] | None:
    """The parameters of a path that fits a template, or None."""
    wanted = segments(template)
    params: dict[str, Any] = {}
    for place, name in enumerate(wanted):
        if name.endswith("*}"):
            if place >= len(parts):
                return None
            params[name[1:-2]] = "/".join(parts[place:])
            return params
        if place >= len(parts):
            return None
        if name.startswith("{"):
            params[name[1:-1]] = parts[place]
        elif name != parts[place]:
            return None
    return params if len(wanted) == len(parts) else None
