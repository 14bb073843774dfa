"""Frames of many flows, cheaply: one scapy frame as template, client address and port patched in."""
from __future__ import annotations

from scapy.layers.inet import TCP

from support.python.checksum import checksum
from support.python.traffic import ip, link, vip


class FlowTemplate:
    """TCP SYNs to L4 port 80 of a VIP; the TCP checksum is not kept up (weir does not look at it)."""

    def __init__(self, family: int, number: int) -> None:
        source = "198.18.0.0" if family == 4 else "2001:db8:c::"
        self._family = family
        self._frame = bytes(link() / ip(family, vip(family, number), source=source) / TCP(sport=0, dport=80, flags="S"))

    def frame(self, port: int, host: int) -> bytes:
        """`host` fills the low 16 bits of the client's address."""
        frame = bytearray(self._frame)
        host_bytes, port_bytes = host.to_bytes(2, "big"), port.to_bytes(2, "big")
        if self._family == 4:
            frame[28:30], frame[34:36], frame[24:26] = host_bytes, port_bytes, bytes(2)
            frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
        else:
            frame[36:38], frame[54:56] = host_bytes, port_bytes
        return bytes(frame)
