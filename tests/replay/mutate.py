#!/usr/bin/python3
"""Seeded mutants of valid frames: the same seed and count give the same capture on any machine.

    mutate.py --seed 7 --count 20000 out.pcap          (--host: with frames for a port with a host interface)

A mutant is a valid frame of some kind (each mode, both families, ARP, ND, echo, options, extension chains)
with one to three mutations. Most have their IPv4 and ICMP checksums mended afterwards, so that the checks
behind the checksum are reached; others are left alone, so that the checksum's is.
"""
from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.python.checksum import checksum, pseudo_header  # noqa: E402
from support.python.pcap_file import Record, write_pcap  # noqa: E402
from support.python.scenario import START, load_scenario  # noqa: E402

KINDS = ("dsr_v4", "dsr_v6", "ipip_4in4", "ipip_4in6", "ipip_6in4", "ipip_6in6", "gue_4in4", "gue_4in6",
         "gue_6in4", "gue_6in6", "routed_backends", "arp_nd_echo", "ipv4_options", "malformed_ipv6")
HOST_KINDS = ("punt", "punt_never_for_a_vip", "vip_is_own_address")  # for a port with a host interface, besides
LONGEST_SEED = 400  # bytes: long frames cost time and hide nothing
GAP = 10_000  # ns between frames
EDGES = (0, 1, 2, 4, 5, 6, 7, 8, 17, 41, 43, 44, 47, 50, 51, 58, 59, 60, 64, 127, 128, 129, 135, 254, 255)
ADDRESSES_V4 = [bytes(map(int, text.split("."))) for text in (
    "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "10.1.0.2", "203.0.113.10", "203.0.113.20",
    "203.0.113.60", "198.51.100.7", "192.0.2.1")]
ADDRESSES_V6 = [bytes.fromhex(text) for text in (
    "00" * 16, "00" * 15 + "01", "fe80" + "00" * 13 + "01", "ff02" + "00" * 13 + "01",
    "ff0200000000000000000001ff000010", "00" * 10 + "ffffc6336407", "20010db8000100000000000000000010",
    "20010db8000100000000000000000020", "fd000001000000000000000000000002", "20010db8000c00000000000000000007")]

Mutation = Callable[[bytearray, Random], None]


def pick(chance: Random, size: int) -> int:
    return int(chance.random() * size)


# --- mutations: each changes the frame in place --------------------------------------------------------


def flip_bits(frame: bytearray, chance: Random) -> None:
    for _ in range(1 + pick(chance, 3)):
        if frame:
            frame[pick(chance, len(frame))] ^= 1 << pick(chance, 8)


def flip_header_bit(frame: bytearray, chance: Random) -> None:
    if len(frame) > 14:
        frame[14 + pick(chance, min(len(frame) - 14, 64))] ^= 1 << pick(chance, 8)


def set_byte(frame: bytearray, chance: Random) -> None:
    if len(frame) > 12:
        frame[12 + pick(chance, min(len(frame) - 12, 70))] = EDGES[pick(chance, len(EDGES))]


def truncate(frame: bytearray, chance: Random) -> None:
    """Near the end for the most part: the headers before are then whole."""
    keep = pick(chance, len(frame) + 1) if chance.random() < 0.5 else len(frame) - pick(chance, 12)
    del frame[max(keep, 1):]


def pad(frame: bytearray, chance: Random) -> None:
    frame += chance.randbytes(1 + pick(chance, 40))


def edit_length(frame: bytearray, chance: Random) -> None:
    """IP total or payload length: a little off, or anything."""
    offset = 16 if is_v4(frame) else 18
    if len(frame) < offset + 2:
        return
    value = frame[offset] << 8 | frame[offset + 1]
    value = value + pick(chance, 17) - 8 if chance.random() < 0.7 else pick(chance, 65536)
    frame[offset:offset + 2] = (value & 0xFFFF).to_bytes(2, "big")


def edit_version(frame: bytearray, chance: Random) -> None:
    if len(frame) > 14:
        frame[14] = frame[14] & 15 | pick(chance, 16) << 4 if chance.random() < 0.5 else frame[14] & 0xF0 | pick(chance, 16)


def edit_protocol(frame: bytearray, chance: Random) -> None:
    offset = 23 if is_v4(frame) else 20
    if len(frame) > offset:
        frame[offset] = EDGES[pick(chance, len(EDGES))]


def edit_fragment(frame: bytearray, chance: Random) -> None:
    if is_v4(frame) and len(frame) > 21:
        frame[20:22] = (pick(chance, 65536) if chance.random() < 0.5 else 1 << pick(chance, 16)).to_bytes(2, "big")


def edit_address(frame: bytearray, chance: Random) -> None:
    if is_v4(frame) and len(frame) >= 34:
        offset = 26 if chance.random() < 0.5 else 30
        frame[offset:offset + 4] = ADDRESSES_V4[pick(chance, len(ADDRESSES_V4))]
    elif is_v6(frame) and len(frame) >= 54:
        offset = 22 if chance.random() < 0.5 else 38
        frame[offset:offset + 16] = ADDRESSES_V6[pick(chance, len(ADDRESSES_V6))]


def edit_transport(frame: bytearray, chance: Random) -> None:
    """Ports, UDP length, TCP data offset, ICMP type: the first bytes behind the IP header."""
    start = 14 + (frame[14] & 15) * 4 if is_v4(frame) and len(frame) > 14 else 54
    if len(frame) > start:
        offset = start + pick(chance, min(len(frame) - start, 16))
        frame[offset] = pick(chance, 256) if chance.random() < 0.5 else EDGES[pick(chance, len(EDGES))]


def swap_ether_type(frame: bytearray, chance: Random) -> None:
    if len(frame) >= 14 and chance.random() < 0.3:
        frame[12:14] = (b"\x08\x00", b"\x86\xdd", b"\x08\x06", b"\x81\x00", b"\x88\xa8", b"\x00\x2e")[pick(chance, 6)]


def insert_extensions(frame: bytearray, chance: Random) -> None:
    """A chain of one to twelve IPv6 extension headers, most of them well formed, before what is there."""
    if not is_v6(frame) or len(frame) < 54:
        return
    after, chain = frame[20], b""
    for _ in range(1 + pick(chance, 4 if chance.random() < 0.8 else 12)):
        kind = (0, 43, 44, 60, 60, 60)[pick(chance, 6)]
        units = 0 if kind == 44 else pick(chance, 3)
        body = bytearray(8 + 8 * units)
        body[0], body[1] = after, units
        if kind == 43:
            body[2], body[3] = pick(chance, 5), pick(chance, 2)
        elif kind == 44:
            body[1], body[3] = 0, (0, 0, 0, 1, 8, 6)[pick(chance, 6)]
        elif chance.random() < 0.1:
            body[1] = pick(chance, 256)
        chain, after = bytes(body) + chain, kind
    frame[20] = after
    frame[54:54] = chain
    length = (frame[18] << 8 | frame[19]) + len(chain)
    frame[18:20] = (length & 0xFFFF).to_bytes(2, "big")


def insert_options(frame: bytearray, chance: Random) -> None:
    """IPv4 options of one to ten words: NOPs, lists of type, length and data, or noise."""
    if not is_v4(frame) or len(frame) < 34 or frame[14] != 0x45:
        return
    words = 1 + pick(chance, 10)
    options = bytearray(words * 4)
    style = pick(chance, 3)
    if style == 0:
        options[:] = b"\x01" * len(options)
        options[pick(chance, len(options))] = pick(chance, 256)
    elif style == 1:
        options[0], options[1] = (7, 68, 130, 131, 137, 148, 222)[pick(chance, 7)], pick(chance, len(options) + 3)
    else:
        options[:] = chance.randbytes(len(options))
    frame[34:34] = options
    frame[14] += words
    frame[16:18] = ((frame[16] << 8 | frame[17]) + len(options) & 0xFFFF).to_bytes(2, "big")


def splice(frame: bytearray, chance: Random) -> None:
    """Removes, repeats or moves a few bytes: every later header shifts."""
    if len(frame) > 20:
        start = 14 + pick(chance, len(frame) - 14)
        piece = bytes(frame[start:start + 1 + pick(chance, 8)])
        if chance.random() < 0.5:
            del frame[start:start + len(piece)]
        else:
            frame[start:start] = piece


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits, flip_header_bit, set_byte, truncate, pad, edit_length, edit_version, edit_protocol, edit_fragment,
    edit_address, edit_transport, swap_ether_type, insert_extensions, insert_options, splice)


# --- whole mutants -------------------------------------------------------------------------------------


def is_v4(frame: bytearray) -> bool:
    return frame[12:14] == b"\x08\x00"


def is_v6(frame: bytearray) -> bool:
    return frame[12:14] == b"\x86\xdd"


def mend_checksums(frame: bytearray) -> None:
    """IPv4 header and ICMP message, where the frame has them whole."""
    if is_v4(frame) and len(frame) >= 34:
        header, end = (frame[14] & 15) * 4, 14 + (frame[16] << 8 | frame[17])
        if header < 20 or len(frame) < 14 + header:
            return
        frame[24:26] = bytes(2)
        frame[24:26] = checksum(bytes(frame[14:14 + header])).to_bytes(2, "big")
        if frame[23] == 1 and 14 + header + 8 <= end <= len(frame):
            mend_icmp(frame, 14 + header, end, b"")
    elif is_v6(frame) and len(frame) >= 62 and frame[20] == 58:
        end = 54 + (frame[18] << 8 | frame[19])
        if 62 <= end <= len(frame):
            mend_icmp(frame, 54, end, pseudo_header(bytes(frame[22:38]), bytes(frame[38:54]), 58, end - 54))


def mend_icmp(frame: bytearray, start: int, end: int, pseudo: bytes) -> None:
    frame[start + 2:start + 4] = bytes(2)
    frame[start + 2:start + 4] = checksum(pseudo, bytes(frame[start:end])).to_bytes(2, "big")


def valid_frames(kinds: tuple[str, ...]) -> list[bytes]:
    frames = [record.frame for kind in kinds for record in load_scenario(kind)[0].received["edge"]]
    return [frame for frame in dict.fromkeys(frames) if len(frame) <= LONGEST_SEED]


def mutants(seed: int, count: int, has_host: bool = False) -> list[Record]:
    chance = Random(seed)
    frames = valid_frames(KINDS + HOST_KINDS if has_host else KINDS)
    records = []
    for number in range(count):
        frame = bytearray(frames[pick(chance, len(frames))])
        for _ in range(1 + pick(chance, 3) if chance.random() < 0.5 else 1):
            MUTATIONS[pick(chance, len(MUTATIONS))](frame, chance)
        if chance.random() < 0.8:
            mend_checksums(frame)
        records.append(Record(START + number * GAP, bytes(frame)))
    return records


def main() -> int:
    parser = argparse.ArgumentParser(description="Writes a capture of seeded mutants.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--host", action="store_true")
    parser.add_argument("capture", type=Path)
    arguments = parser.parse_args()
    write_pcap(arguments.capture, mutants(arguments.seed, arguments.count, arguments.host))
    return 0


if __name__ == "__main__":
    sys.exit(main())
