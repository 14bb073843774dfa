"""IPv6 headers and extension chains: what weir walks through, and where it stops (RFC 8200, RFC 5095)."""
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from support.python.edit import patch
from support.python.scenario import Scenario
from support.python.traffic import ip, link, vip

HOP_BY_HOP, TCP_NUMBER, UDP_NUMBER, ROUTING, FRAGMENT, NO_NEXT, DESTINATION = 0, 6, 17, 43, 44, 59, 60
PAYLOAD_LENGTH, HOP_LIMIT = 4, 7


def chain(number: int, headers: list[tuple[int, bytes]], last: int = UDP_NUMBER, tail: bytes | None = None) -> bytes:
    """`headers`: (type, everything behind the next-header byte)."""
    kinds = [kind for kind, _ in headers] + [last]
    body = b"".join(bytes([after]) + rest for (_, rest), after in zip(headers, kinds[1:]))
    payload = bytes(UDP(sport=4000, dport=80, len=12) / Raw(b"data")) if tail is None else tail
    return bytes(link() / ip(6, vip(6, number), nh=kinds[0]) / Raw(body + payload))


def options(units: int = 0) -> bytes:
    """Length and one PadN: a header of 8 + 8 x units bytes."""
    size = 8 + 8 * units - 4
    return bytes([units, 1, size]) + bytes(size) if size < 256 else bytes([units, 1, 255]) + bytes(8 * units + 8 - 4)


def routing(kind: int, segments_left: int) -> bytes:
    return bytes([0, kind, segments_left, 0, 0, 0, 0])


ATOMIC = bytes([0, 0, 0, 1, 2, 3, 4])  # offset 0, no more fragments, an identification


def make(s: Scenario) -> None:
    for number in (10, 20, 30):
        make_header(s, number)
        make_walks(s, number)
        make_stops(s, number)


def make_header(s: Scenario, number: int) -> None:
    good = bytes(link() / ip(6, vip(6, number)) / TCP(sport=4000, dport=80))
    s.forwarded(good)
    s.forwarded(good + bytes(4))  # Ethernet padding
    for cut in (0, 1, 39):
        s.dropped("ip_truncated", good[:14 + cut])
    s.dropped("ip_truncated", good[:-1])
    s.dropped("ip_truncated", patch(good, PAYLOAD_LENGTH, 0, 21))
    s.dropped("ip_truncated", patch(good, PAYLOAD_LENGTH, 0xFF, 0xFF))
    for version in (0, 4, 5, 7):
        s.dropped("ip_version", patch(good, 0, version << 4))
    s.dropped("ttl_expired", patch(good, HOP_LIMIT, 0))
    s.forwarded(patch(good, HOP_LIMIT, 1))


def make_walks(s: Scenario, number: int) -> None:
    for headers in ([(HOP_BY_HOP, options())],
                    [(DESTINATION, options())],
                    [(DESTINATION, options(3))],
                    [(DESTINATION, options(30))],
                    [(ROUTING, routing(2, 0))],
                    [(ROUTING, routing(4, 0))],
                    [(FRAGMENT, ATOMIC)],
                    [(HOP_BY_HOP, options()), (DESTINATION, options()), (ROUTING, routing(2, 0)),
                     (FRAGMENT, ATOMIC), (DESTINATION, options(1))],
                    [(DESTINATION, options())] * 8):
        s.forwarded(chain(number, headers))


def make_stops(s: Scenario, number: int) -> None:
    for headers in ([(DESTINATION, options())] * 9,
                    [(DESTINATION, options())] * 64,
                    [(DESTINATION, options()), (HOP_BY_HOP, options())],
                    [(HOP_BY_HOP, options()), (HOP_BY_HOP, options())],
                    [(ROUTING, routing(0, 0))],
                    [(ROUTING, routing(0, 1))],
                    [(ROUTING, routing(2, 1))],
                    [(ROUTING, routing(4, 255))]):
        s.dropped("ext_chain", chain(number, headers))
    # chains that end before their length says so, or before the next header begins
    s.dropped("ext_chain", chain(number, [(DESTINATION, b"\xff" + bytes(6))]))
    s.dropped("ext_chain", chain(number, [(DESTINATION, options())], last=DESTINATION, tail=b""))
    s.dropped("ext_chain", chain(number, [(HOP_BY_HOP, options())], last=FRAGMENT, tail=b"\x11\x00\x00"))
    s.dropped("ext_chain", chain(number, [], last=HOP_BY_HOP, tail=b""))
    # the chain is fine, what stands behind it is not for a balancer
    s.dropped("unknown_protocol", chain(number, [(DESTINATION, options())], last=NO_NEXT, tail=b""))
    s.dropped("unknown_protocol", chain(number, [], last=NO_NEXT, tail=b""))
    s.dropped("l4_truncated", chain(number, [(DESTINATION, options())], tail=b"\x0f\xa0\x00\x50\x00"))
    s.dropped("no_service", chain(number, [(DESTINATION, options())], tail=bytes(UDP(sport=80, dport=81, len=8))))
