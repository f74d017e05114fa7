"""The rules of the compute API, by the names that operators of Nova know."""

from __future__ import annotations

from breezeblock.auth.rules import ADMIN, MEMBER, READER, SERVICE

_SERVERS = "os_compute_api:servers:"
_VOLUMES = "os_compute_api:os-volumes-attachments:"

LIST = f"{_SERVERS}index"
LIST_ALL = f"{_SERVERS}index:get_all_tenants"
DETAIL = f"{_SERVERS}detail"
DETAIL_ALL = f"{_SERVERS}detail:get_all_tenants"
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

_ADMIN_RULES = {
    LIST_ALL: "GET /servers?all_tenants=1",
    DETAIL_ALL: "GET /servers/detail?all_tenants=1",
    CREATE_ON_HOST: "POST /servers, on a host of choice",
    EXTENDED: "GET /servers/{id}, /servers/detail: where it runs is shown",
}
_MEMBER_RULES = {
    CREATE: "POST /servers",
    UPDATE: "PUT /servers/{id}",
    DELETE: "DELETE /servers/{id}",
    START: "POST /servers/{id}/action (os-start)",
    STOP: "POST /servers/{id}/action (os-stop)",
    REBOOT: "POST /servers/{id}/action (reboot)",
    VOLUMES_CREATE: "POST /servers/{id}/os-volume_attachments",
    VOLUMES_UPDATE: "PUT /servers/{id}/os-volume_attachments/{volume_id}",
    VOLUMES_DELETE: "DELETE /servers/{id}/os-volume_attachments/{volume_id}",
}
_READER_RULES = {
    LIST: "GET /servers",
    DETAIL: "GET /servers/detail",
    SHOW: "GET /servers/{id}",
    VOLUMES_LIST: "GET /servers/{id}/os-volume_attachments",
    VOLUMES_SHOW: "GET /servers/{id}/os-volume_attachments/{volume_id}",
}
_SERVICE_RULES = {
    VOLUMES_SWAP: "PUT /servers/{id}/os-volume_attachments/{volume_id}, another volume",
    EXTERNAL_EVENTS: "POST /os-server-external-events",
}

DECIDES: dict[str, str] = {**_ADMIN_RULES, **_MEMBER_RULES, **_READER_RULES, **_SERVICE_RULES}
"""By rule: the calls that it decides about."""

DEFAULTS: dict[str, str] = {
    **dict.fromkeys(_ADMIN_RULES, ADMIN),
    **dict.fromkeys(_MEMBER_RULES, MEMBER),
    **dict.fromkeys(_READER_RULES, READER),
    **dict.fromkeys(_SERVICE_RULES, SERVICE),
}
