#!/usr/bin/python3
"""A switch with VLANs in user space, for kernels without 802.1Q: `vlan_switch.py TRUNK PORT=VLAN[.VLAN] ...`

Frames of an access port reach the other ports of its VLAN untagged and the trunk with the VLAN's tags; frames of the
trunk reach the ports of the VLAN whose tags they have. It floods: nobody learns addresses.
"""
from __future__ import annotations

import selectors
import socket
import struct
import sys

SOL_PACKET, PACKET_AUXDATA, ETH_P_ALL, OUTGOING = 263, 8, 3, 4
AUXDATA = struct.Struct("IIIHHHH")  # tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
VLAN_VALID = 1 << 4
DOT1Q, DOT1AD = 0x8100, 0x88A8


def tags_of(vlan: str) -> bytes:
    ids = [int(part) for part in vlan.split(".")]
    kinds = [DOT1AD, DOT1Q] if len(ids) == 2 else [DOT1Q]
    return b"".join(struct.pack("!HH", kind, one) for kind, one in zip(kinds, ids))


def open_port(name: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    port.bind((name, ETH_P_ALL))
    return port


def receive(port: socket.socket) -> bytes:
    """The frame as it was on the wire: the kernel hands the outer tag over beside it. Empty: one of our own."""
    frame, beside, _, source = port.recvmsg(65536, socket.CMSG_SPACE(AUXDATA.size))
    if source[2] == OUTGOING:
        return b""
    for _, kind, data in beside:
        if kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = AUXDATA.unpack(data[:AUXDATA.size])
            if status & VLAN_VALID:
                frame = frame[:12] + struct.pack("!HH", tpid, tci) + frame[12:]
    return frame


def main() -> None:
    trunk = open_port(sys.argv[1])
    access = {open_port(name): tags_of(vlan) for name, vlan in (text.split("=") for text in sys.argv[2:])}
    poller = selectors.DefaultSelector()
    for port in (trunk, *access):
        poller.register(port, selectors.EVENT_READ)
    while True:
        for key, _ in poller.select():
            port = key.fileobj
            assert isinstance(port, socket.socket)
            frame = receive(port)
            if port is not trunk and frame:
                tags = access[port]
                trunk.send(frame[:12] + tags + frame[12:])
                for other in access:
                    if other is not port and access[other] == tags:
                        other.send(frame)
            for other, tags in access.items() if port is trunk and frame else ():
                if frame[12:12 + len(tags)] == tags:
                    other.send(frame[:12] + frame[12 + len(tags):])


if __name__ == "__main__":
    main()
