"""The rules of the compute API, by the names that operators of Nova know."""

from __future__ import annotations

from breezeblock.auth.rules import ADMIN, MEMBER, READER

_SERVERS = "os_compute_api:servers:"
_VOLUMES = "os_compute_api:os-volumes-attachments:"

LIST = f"{_SERVERS}index"
LIST_ALL = f"{_SERVERS}index:get_all_tenants"
SHOW = f"{_SERVERS}show"
CREATE = f"{_SERVERS}create"
CREATE_ON_HOST = f"{_SERVERS}create:forced_host"
UPDATE = f"{_SERVERS}update"
DELETE = f"{_SERVERS}delete"
START = f"{_SERVERS}start"
STOP = f"{_SERVERS}stop"
REBOOT = f"{_SERVERS}reboot"
EXTENDED = "os_compute_api:os-extended-server-attributes"
VOLUMES_LIST = f"{_VOLUMES}index"
VOLUMES_SHOW = f"{_VOLUMES}show"
VOLUMES_CREATE = f"{_VOLUMES}create"
VOLUMES_UPDATE = f"{_VOLUMES}update"
VOLUMES_SWAP = f"{_VOLUMES}swap"
VOLUMES_DELETE = f"{_VOLUMES}delete"
EXTERNAL_EVENTS = "os_compute_api:os-server-external-events:create"

DEFAULTS: dict[str, str] = {
    **dict.fromkeys((LIST, SHOW, VOLUMES_LIST, VOLUMES_SHOW), READER),
    **dict.fromkeys((CREATE, UPDATE, DELETE, START, STOP, REBOOT), MEMBER),
    **dict.fromkeys((VOLUMES_CREATE, VOLUMES_UPDATE, VOLUMES_DELETE), MEMBER),
    **dict.fromkeys((LIST_ALL, CREATE_ON_HOST, EXTENDED, VOLUMES_SWAP, EXTERNAL_EVENTS), ADMIN),
}
