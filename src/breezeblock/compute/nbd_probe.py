"""Is there an NBD server at an address? Asked by `qemu_disks` before QEMU may depend on it.

QEMU itself cannot be asked: an idle client notices the death of its server only when it needs it,
and then it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

_GREETING = b"NBDMAGICIHAVEOPT"  # sent by the server before TLS and before any export is named
_FLAGS = 2
_GOODBYE = b"\0\0\0\3" + b"IHAVEOPT" + b"\0\0\0\2" + b"\0\0\0\0"  # our flags, NBD_OPT_ABORT
_PATIENCE = 2.0


async def server_answers(address: Mapping[str, str]) -> bool:
    """Whether a server greets a client at the address (QEMU's form) within two seconds."""
    writer = None
    try:
        async with asyncio.timeout(_PATIENCE):
            if address["type"] == "unix":
                reader, writer = await asyncio.open_unix_connection(address["path"])
            else:
                reader, writer = await asyncio.open_connection(address["host"], address["port"])
            greeting = await reader.readexactly(len(_GREETING) + _FLAGS)
            writer.write(_GOODBYE)
            return greeting.startswith(_GREETING)
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
