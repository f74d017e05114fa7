"""What the rules look at: the rows of one consistent view of the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from breezeblock.model.attachments import Attachment
from breezeblock.model.inventory import Item
from breezeblock.model.messages import Message
from breezeblock.model.operation import Operation
from breezeblock.model.snapshots import Snapshot
from breezeblock.model.transfers import Transfer
from breezeblock.model.volumes import Volume


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be. `rule` names the rule, `subject` the resource's id.

    `item` is the object that a backend holds, or should hold, where it is about one.
    """

    rule: str
    subject: str
    text: str
    item: Item | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


@dataclass(frozen=True)
class Facts:
    """The rows. `now` is the database's clock in seconds, `type_names` volume type id → name.

    `usages` maps (project id, resource) to what is counted as used.
    """

    now: float
    volumes: Mapping[str, Volume]
    snapshots: Mapping[str, Snapshot]
    attachments: Iterable[Attachment]
    operations: Iterable[Operation]
    usages: Mapping[tuple[str, str], int]
    messages: Iterable[Message]
    type_names: Mapping[str, str]
    transfers: Iterable[Transfer] = ()

    @cached_property
    def open_on(self) -> Mapping[str, list[Operation]]:
        """Volume or snapshot id → operations that are open on it or on one of its exports."""
        found: defaultdict[str, list[Operation]] = defaultdict(list)
        for one in self.operations:
            if one.is_open:
                found[one.resource_id.partition("@")[0]].append(one)
        return found

    @cached_property
    def attachments_of(self) -> Mapping[str, list[Attachment]]:
        """Volume id → its attachments."""
        found: defaultdict[str, list[Attachment]] = defaultdict(list)
        for one in self.attachments:
            found[one.volume_id].append(one)
        return found

    @cached_property
    def transfer_of(self) -> Mapping[str, Transfer]:
        """Volume id → the offer of it to another project."""
        return {one.volume_id: one for one in self.transfers}

    def is_open(self, resource_id: str) -> bool:
        """Whether work is open on exactly this resource (`<volume>@<host>` is an export)."""
        on = self.open_on.get(resource_id.partition("@")[0], ())
        return any(one.resource_id == resource_id for one in on)
