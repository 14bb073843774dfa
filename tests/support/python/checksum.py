"""The Internet checksum (RFC 1071) as arithmetic modulo 65,535."""
from __future__ import annotations


def ones_sum(data: bytes) -> int:
    """Sum of the 16-bit words as a number that is equal modulo 65,535; 0 only if every byte is 0."""
    return int.from_bytes(data, "big") << 8 if len(data) & 1 else int.from_bytes(data, "big")


def checksum(*parts: bytes) -> int:
    """What belongs into the checksum field. All parts but the last have an even length."""
    total = sum(ones_sum(part) for part in parts)
    if total == 0:
        return 0xFFFF
    return -total % 0xFFFF


def is_valid(*parts: bytes) -> bool:
    """True if the sum over the parts, checksum field included, is minus zero."""
    total = sum(ones_sum(part) for part in parts)
    return total != 0 and total % 0xFFFF == 0


def pseudo_header(source: bytes, destination: bytes, protocol: int, length: int) -> bytes:
    """RFC 768 for 4-byte addresses, RFC 8200 8.1 for 16-byte ones."""
    if len(source) == 4:
        return source + destination + bytes((0, protocol)) + length.to_bytes(2, "big")
    return source + destination + length.to_bytes(4, "big") + bytes((0, 0, 0, protocol))
