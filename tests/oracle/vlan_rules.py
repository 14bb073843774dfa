"""Which port a frame on a device belongs to, by its VLAN tags, and what the frame is without them.

IEEE 802.1Q: a tag stands between the source MAC address and the EtherType; 0x8100 before a single tag and before
the inner of two, 0x88a8 (802.1ad) or 0x8100 before the outer of two. A single tag of id 0 bears a priority only.
"""
from __future__ import annotations

from oracle.world import Port, World

DOT1Q, DOT1AD = 0x8100, 0x88A8


def read_tags(frame: bytes) -> tuple[tuple[int, ...], int] | None:
    """The VLAN ids, the outer first, and the bytes that all tags take. None: tags that no port can have."""
    ids: list[int] = []
    types: list[int] = []
    at = 12
    while (kind := int.from_bytes(frame[at:at + 2], "big")) in (DOT1Q, DOT1AD):
        if len(frame) < at + 6:
            return None
        types.append(kind)
        ids.append(int.from_bytes(frame[at + 2:at + 4], "big") & 0xFFF)
        at += 4
    if ids == [0] and types == [DOT1Q]:
        return (), 4
    if 0 in ids or len(ids) > 2 or DOT1AD in types[1:] or types == [DOT1AD]:
        return None
    return tuple(ids), at - 12


def untag(world: World, capture: str, frame: bytes) -> tuple[Port, bytes] | None:
    """Of a frame received by the device that the port `capture` is on. None: the drop vlan_tag."""
    ports = world.ports_beside(capture)
    if len(frame) < 14:
        return ports[0], frame  # the reason is runt_frame for any of them
    tags = read_tags(frame)
    if tags is None:
        return None
    ids, length = tags
    port = next((port for port in ports if port.vlan == ids), None)
    return (port, frame[:12] + frame[12 + length:]) if port else None


def put_tags(port: Port, frame: bytes) -> bytes:
    """What leaves by the port: priority 0, 802.1ad before the outer of two tags."""
    if not port.vlan:
        return frame
    kinds = [DOT1AD, DOT1Q] if len(port.vlan) == 2 else [DOT1Q]
    tags = b"".join(kind.to_bytes(2, "big") + vlan.to_bytes(2, "big") for kind, vlan in zip(kinds, port.vlan))
    return frame[:12] + tags + frame[12:]


def sent_by(world: World, capture: str, frame: bytes) -> tuple[str, bytes]:
    """The name of the port that a frame has left by, and the frame untagged. A name that no port has: its tags are
    not exactly those of one."""
    for port in world.ports_beside(capture):
        length = 4 * len(port.vlan)
        untagged = frame[:12] + frame[12 + length:]
        tags = read_tags(frame)
        if tags is not None and tags[0] == port.vlan and put_tags(port, untagged) == frame:
            return port.name, untagged
    return f"{capture}, with tags of no port", frame
