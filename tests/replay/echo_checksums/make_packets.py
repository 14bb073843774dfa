"""Echo replies for all 65,536 identifiers, IPv4 and IPv6: every checksum right, also of a message of zeros."""
from scapy.layers.inet import ICMP
from scapy.layers.inet6 import ICMPv6EchoRequest

from support.python.checksum import checksum
from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip


def make(s: Scenario) -> None:
    v4 = bytes(link() / ip(4, vip(4, 10)) / ICMP(id=0))
    v6 = bytes(link() / ip(6, vip(6, 10)) / ICMPv6EchoRequest(id=0))
    for frame, checksum_at in ((v4, 36), (v6, 56)):
        sum_of_rest = 0xFFFF - int.from_bytes(frame[checksum_at:checksum_at + 2], "big")
        for identifier in range(1 << 16):
            field = checksum((sum_of_rest + identifier).to_bytes(4, "big"))
            s.answered(frame[:checksum_at] + field.to_bytes(2, "big") + identifier.to_bytes(2, "big")
                       + frame[checksum_at + 4:])
