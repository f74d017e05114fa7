"""multipart/form-data with one entry, as ONTAP sends and takes the bytes of files and LUNs."""

from __future__ import annotations

import re

from breezeblock.ontapsim.errors import ApiError
from breezeblock.ontapsim.rest import Raw

CONTENT_TYPE = "multipart/form-data"
MOST = 1 << 20
_BOUNDARY = "ontapsim-5a24ae5b28af47fb"


def read(content_type: str, raw: bytes) -> bytes:
    """The bytes of the only entry."""
    match = re.search(r'boundary="?([^";,]+)"?', content_type)
    if match:
        delimiter = b"--" + match[1].encode()
        parts = (b"\r\n" + raw).split(b"\r\n" + delimiter)
        if len(parts) == 3:
            _, blank, data = parts[1].partition(b"\r\n\r\n")
            if blank:
                if len(data) > MOST:
                    raise ApiError(400, "5374929", f"At most {MOST} bytes a request.", "data")
                return data
    raise ApiError(400, "5374930", "A form with exactly one entry was expected.", "data")


def write(data: bytes) -> Raw:
    head = (
        f"--{_BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="data"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return Raw(f"{CONTENT_TYPE}; boundary={_BOUNDARY}", body)
