"""Frames that are wrong on purpose: patch bytes, and mend the IPv4 header checksum so that the patch is found."""
from __future__ import annotations

from typing import Any

from support.python.checksum import checksum

IP = 14  # offset of the IP header in an untagged frame


def patch(frame: Any, offset: int, *values: int) -> bytes:
    """`offset` counts from the IP header."""
    data = bytearray(bytes(frame))
    data[IP + offset:IP + offset + len(values)] = bytes(values)
    return bytes(data)


def mend_ipv4(frame: Any) -> bytes:
    """Recomputes the header checksum over IHL x 4 bytes, as far as the frame has them."""
    data = bytearray(bytes(frame))
    length = (data[IP] & 15) * 4
    if length >= 20 and len(data) >= IP + length:
        data[IP + 10:IP + 12] = bytes(2)
        data[IP + 10:IP + 12] = checksum(bytes(data[IP:IP + length])).to_bytes(2, "big")
    return bytes(data)


def patch_ipv4(frame: Any, offset: int, *values: int) -> bytes:
    return mend_ipv4(patch(frame, offset, *values))
