"""User messages: the numbers are the wire's (shared facts, messages.md), the texts ours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import msgspec


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message as it stands in the database."""

    id: str
    project_id: str
    request_id: str
    event_id: str
    user_message: str
    created_at: datetime
    expires_at: datetime
    resource_type: str | None = None
    resource_uuid: str | None = None
    message_level: str = "ERROR"


@dataclass(frozen=True, slots=True)
class Event:
    """What happened: the action, and the detail in the wire's numbers."""

    resource_type: str
    action_id: str
    detail_id: str
    action: str

    @property
    def event_id(self) -> str:
        return f"VOLUME_{self.resource_type}_{self.action_id}_{self.detail_id}"


NO_BACKEND_FITS = Event("VOLUME", "001", "003", "schedule the volume")
CREATE_FAILED = Event("VOLUME", "008", "012", "create the volume in a backend")
DELETE_FAILED = Event("VOLUME", "006", "001", "delete the volume")
ATTACH_FAILED = Event("VOLUME", "004", "021", "attach the volume")
DETACH_FAILED = Event("VOLUME", "004", "022", "detach the volume")
EXTEND_NO_ROOM = Event("VOLUME", "007", "003", "extend the volume")
EXTEND_FAILED = Event("VOLUME", "007", "010", "extend the volume")
EXTEND_NOT_SEEN = Event("VOLUME", "007", "009", "tell the server of the new size")
SNAPSHOT_FAILED = Event("VOLUME_SNAPSHOT", "009", "013", "create the snapshot")
SNAPSHOT_DELETE_FAILED = Event("VOLUME_SNAPSHOT", "010", "016", "delete the snapshot")
REVERT_FAILED = Event("VOLUME", "011", "001", "put the volume back to its snapshot")
UPLOAD_FAILED = Event("VOLUME", "003", "004", "copy the volume into an image")
RETYPE_NO_FIT = Event("VOLUME", "001", "003", "find a place for the volume's new type")
RETYPE_FAILED = Event("VOLUME", "011", "001", "change the volume's type")
MIGRATE_NO_FIT = Event("VOLUME", "001", "003", "move the volume")
MIGRATE_FAILED = Event("VOLUME", "011", "001", "move the volume")
ADOPT_NOT_TAKEN = Event("VOLUME", "001", "003", "adopt the volume")
ADOPT_FAILED = Event("VOLUME", "008", "012", "adopt the volume")
ADOPT_OVER_QUOTA = Event("VOLUME", "008", "006", "adopt the volume")
SNAPSHOT_ADOPT_FAILED = Event("VOLUME_SNAPSHOT", "009", "013", "adopt the snapshot")
UNMANAGE_FAILED = Event("VOLUME", "006", "001", "unmanage the volume")
SNAPSHOT_UNMANAGE_FAILED = Event("VOLUME_SNAPSHOT", "006", "001", "unmanage the snapshot")
VOLUME_CHECKED = Event("VOLUME", "008", "001", "look for the volume on its backend")
SNAPSHOT_CHECKED = Event("VOLUME_SNAPSHOT", "011", "001", "look for the snapshot on its backend")
IMAGE_REFUSED = Event("VOLUME", "005", "029", "make the volume from the image")
REIMAGE_FAILED = Event("VOLUME", "016", "029", "overwrite the volume with the image")
REIMAGE_NOT_SEEN = Event("VOLUME", "016", "028", "tell the server of the new content")
HOLD_FAILED = Event("VOLUME", "004", "001", "take a reservation of the volume back")
