"""Each check of RFC 1812 5.2.2 by a packet that fails it alone; no mode forwards one."""
from scapy.layers.inet import TCP
from scapy.packet import Raw

from support.python.edit import mend_ipv4, patch, patch_ipv4
from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip

VERSION_IHL, TOTAL_LENGTH, TTL, CHECKSUM = 0, 2, 8, 10


def make(s: Scenario) -> None:
    for number in (10, 20, 30):
        good = bytes(link() / ip(4, vip(4, number)) / TCP(sport=4000, dport=80) / Raw(b"twelve bytes"))
        length = len(good) - 14  # 52
        s.forwarded(good)
        s.forwarded(good + bytes(8))  # Ethernet padding is no fault

        for cut in (0, 1, 19):  # the link's length does not hold a header
            s.dropped("ip_truncated", good[:14 + cut])
        for cut in (20, 33, length - 1):  # nor the total length
            s.dropped("ip_truncated", good[:14 + cut])
        s.dropped("ip_truncated", patch_ipv4(good, TOTAL_LENGTH, 0, length + 1))
        s.dropped("ip_truncated", patch_ipv4(good, TOTAL_LENGTH, 0xFF, 0xFF))

        for version in (0, 5, 6, 15):
            s.dropped("ip_version", patch_ipv4(good, VERSION_IHL, version << 4 | 5))

        for ihl in range(5):
            s.dropped("ip_header_length", patch(good, VERSION_IHL, 0x40 | ihl))
        for total in (0, 1, 19):
            s.dropped("ip_header_length", patch_ipv4(good, TOTAL_LENGTH, 0, total))
        options = bytearray(good[:34] + b"\x01" * 20 + good[34:])  # IHL 10, total length 39
        options[14], options[16:18] = 0x4A, b"\x00\x27"
        s.dropped("ip_header_length", mend_ipv4(options))

        for wrong in (0x0000, 0xFFFF):
            s.dropped("ip_checksum", patch(good, CHECKSUM, wrong >> 8, wrong & 0xFF))
        for bit in range(8):  # any flipped bit in the header
            s.dropped("ip_checksum", patch(good, TTL, good[14 + TTL] ^ 1 << bit))
        s.dropped("ttl_expired", patch_ipv4(good, TTL, 0))
        s.forwarded(patch_ipv4(good, TTL, 1))
        s.forwarded(patch_ipv4(good, TTL, 255))
