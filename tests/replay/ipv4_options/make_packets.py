"""Well-formed IPv4 options pass untouched and the L4 ports are found behind them; source routes do not pass."""
from scapy.layers.inet import TCP, UDP
from scapy.packet import Raw

from support.python.edit import mend_ipv4
from support.python.scenario import Scenario
from support.python.traffic import by_dsr, by_gue, by_ipip, ip, link, vip

MAKE = {10: by_dsr, 20: lambda frame: by_ipip(frame, 4), 30: lambda frame: by_gue(frame, 4)}
RECORD_ROUTE, TIMESTAMP, SECURITY, LSRR, STREAM, SSRR, ROUTER_ALERT = 7, 68, 130, 131, 136, 137, 148


def with_options(number: int, options: bytes, transport: object) -> bytes:
    """An IPv4 packet with these option bytes; the caller has padded them to whole words."""
    frame = bytearray(bytes(link() / ip(4, vip(4, number)) / transport))
    frame[34:34] = options
    frame[14] = 0x45 + len(options) // 4
    frame[16:18] = (len(frame) - 14).to_bytes(2, "big")
    return mend_ipv4(frame)


def make(s: Scenario) -> None:
    tcp, udp = TCP(sport=4000, dport=80), UDP(sport=4000, dport=80) / Raw(b"data")
    for number, becomes in MAKE.items():
        good = [bytes([1]) * 4 * words for words in range(1, 11)]  # every header length up to 60
        good += [bytes(4),  # end of options at once
                 bytes([1, 1, 0, 0]),
                 bytes([0, 255, 255, 255]),  # behind the end anything may stand
                 bytes([ROUTER_ALERT, 4, 0, 0]),
                 bytes([RECORD_ROUTE, 7, 4, 0, 0, 0, 0, 0]),
                 bytes([TIMESTAMP, 8, 5, 0, 0, 0, 0, 0]),
                 bytes([STREAM, 4, 0, 7]),
                 bytes([SECURITY, 11]) + bytes(10),
                 bytes([222, 40]) + bytes(38)]  # unknown, the whole room
        for options in good:
            for transport in (tcp, udp):
                frame = with_options(number, options, transport)
                s.forwarded(frame, becomes=becomes(frame))
        bad = [bytes([LSRR, 7, 4, 10, 0, 0, 1, 0]), bytes([SSRR, 7, 4, 10, 0, 0, 1, 0]),
               bytes([1, LSRR, 3, 4]),
               bytes([ROUTER_ALERT, 0, 0, 0]),  # lengths that are none
               bytes([ROUTER_ALERT, 1, 0, 0]),
               bytes([ROUTER_ALERT, 5, 0, 0]),  # beyond the header
               bytes([ROUTER_ALERT, 255, 0, 0]),
               bytes([1, 1, 1, ROUTER_ALERT])]  # no room for a length
        for options in bad:
            s.dropped("ip_options", with_options(number, options, tcp))
    # the ports are read behind the options, never at byte 20: there stands port 80
    decoy = bytes([222, 8, 0, 80, 0, 80, 0, 80])
    s.dropped("no_service", with_options(20, decoy, TCP(sport=4000, dport=81)))
