"""Every prefix of packets of each mode: only the whole packet, padded or not, is forwarded."""
from support.python.scenario import Scenario
from support.python.traffic import typical_packets, vip


def make(s: Scenario) -> None:
    for family, header in ((4, 20), (6, 40)):
        for number in (10, 20, 30):
            for frame in typical_packets(family, vip(family, number)):
                for length in range(1, len(frame)):
                    s.dropped("runt_frame" if length < 14 else "ip_truncated", frame[:length])
                s.forwarded(frame)
                s.forwarded(frame + b"padding")
