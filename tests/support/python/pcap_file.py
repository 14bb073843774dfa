"""Reads and writes classic pcap files with struct alone: fast, and exact for frames that scapy would mend."""
from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MAGIC_MICROSECONDS = 0xA1B2C3D4
MAGIC_NANOSECONDS = 0xA1B23C4D
LINKTYPE_ETHERNET = 1


class Record(NamedTuple):
    """One frame of a capture; `time` in nanoseconds since 1970."""

    time: int
    frame: bytes


class BadCapture(ValueError):
    """The file is not a pcap that ends at a record's end."""


def read_pcap(path: Path) -> list[Record]:
    data = path.read_bytes()
    if len(data) < 24:
        raise BadCapture(f"{path.name}: {len(data)} bytes are no pcap header")
    for order in "<>":
        magic = struct.unpack_from(order + "I", data)[0]
        if magic in (MAGIC_MICROSECONDS, MAGIC_NANOSECONDS):
            break
    else:
        raise BadCapture(f"{path.name}: not a pcap file")
    unit = 1000 if magic == MAGIC_MICROSECONDS else 1
    header = struct.Struct(order + "IIII")
    records: list[Record] = []
    offset, end = 24, len(data)
    while offset < end:
        if offset + 16 > end:
            raise BadCapture(f"{path.name}: cut in the header of record {len(records)}")
        seconds, fraction, captured, _ = header.unpack_from(data, offset)
        offset += 16
        if offset + captured > end:
            raise BadCapture(f"{path.name}: cut in record {len(records)}")
        records.append(Record(seconds * 1_000_000_000 + fraction * unit, data[offset:offset + captured]))
        offset += captured
    return records


def write_pcap(path: Path, records: Iterable[Record]) -> None:
    """Microsecond pcap, little endian."""
    header = struct.Struct("<IIII")
    parts = [struct.pack("<IHHiIII", MAGIC_MICROSECONDS, 2, 4, 0, 0, 262144, LINKTYPE_ETHERNET)]
    for time, frame in records:
        seconds, rest = divmod(time, 1_000_000_000)
        parts.append(header.pack(seconds, rest // 1000, len(frame), len(frame)))
        parts.append(frame)
    path.write_bytes(b"".join(parts))
