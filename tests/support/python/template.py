"""Frames of many flows, cheaply: one scapy frame as template, client address and port patched in."""
from __future__ import annotations

from scapy.layers.inet import TCP

from support.python.checksum import checksum
from support.python.traffic import ip, link, vip


class FlowTemplate:
    """TCP SYNs to L4 port 80 of a VIP, all checksums right."""

    def __init__(self, family: int, number: int) -> None:
        source = "198.18.0.0" if family == 4 else "2001:db8:c::"
        self._family = family
        self._frame = frame = bytes(link() / ip(family, vip(family, number), source=source) / TCP(sport=0, dport=80, flags="S"))
        self._tcp_checksum = int.from_bytes(frame[50:52] if family == 4 else frame[70:72], "big")

    def frame(self, port: int, host: int) -> bytes:
        """`host` fills the low 16 bits of the client's address."""
        frame = bytearray(self._frame)
        host_bytes, port_bytes = host.to_bytes(2, "big"), port.to_bytes(2, "big")
        if self._family == 4:
            frame[28:30], frame[34:36], frame[24:26] = host_bytes, port_bytes, bytes(2)
            frame[24:26] = checksum(bytes(frame[14:34])).to_bytes(2, "big")
            frame[50:52] = self._mended(host + port)
        else:
            frame[36:38], frame[54:56] = host_bytes, port_bytes
            frame[70:72] = self._mended(host + port)
        return bytes(frame)

    def _mended(self, added: int) -> bytes:
        """The TCP checksum after words that were 0 have become `added` in sum."""
        return (-(0xFFFF - self._tcp_checksum + added) % 0xFFFF).to_bytes(2, "big")
