"""dsr, IPv6: MAC addresses change, nothing else; the backend is found by its IPv4 or IPv6 address."""
from support.python.scenario import Scenario
from support.python.traffic import by_dsr, typical_packets, vip


def make(s: Scenario) -> None:
    for number in (10, 11):
        for frame in typical_packets(6, vip(6, number)):
            s.forwarded(frame, becomes=by_dsr(frame))
