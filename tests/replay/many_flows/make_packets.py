"""10,000 flows of each family to equal backends by gue: even shares, entropy in source port and flow label."""
import random

from support.python.scenario import Scenario
from support.python.template import FlowTemplate

CONFIG = "../configs/four_backends.cfg"


def make(s: Scenario) -> None:
    chance = random.Random(3)
    for family in (4, 6):
        for number in (20, 21):  # backends by their IPv4 and IPv6 addresses
            template = FlowTemplate(family, number)
            flows = [(chance.randrange(1, 1 << 16), chance.randrange(1 << 16)) for _ in range(5_000)]
            for port, host in flows + flows[::10]:
                s.forwarded(template.frame(port, host))
