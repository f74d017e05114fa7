"""The smallest operating system: a boot sector that says a sentence on the serial port, and halts.

A guest that boots it is up in a moment, and shows that the firmware started from the volume. It
hears neither the power button nor a request to give a disk back.
"""

from __future__ import annotations

_LOADED_AT = 0x7C00
_CODE = bytes.fromhex(
    "31c0 8ed8"  # xor ax,ax; mov ds,ax
    "be 157c"  # mov si,sentence
    "ac 84c0 7406"  # next: lodsb; test al,al; jz end
    "ba f803 ee ebf5"  # mov dx,COM1; out dx,al; jmp next
    "f4 ebfd"  # end: hlt; jmp end
)
assert _CODE[5:7] == (_LOADED_AT + len(_CODE)).to_bytes(2, "little")


def boot_sector(sentence: str) -> bytes:
    """512 bytes for the beginning of a disk."""
    return (_CODE + sentence.encode() + b"\n\0").ljust(510, b"\0") + b"\x55\xaa"
