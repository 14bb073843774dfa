"""Weights 1:2:5:0: 12,000 flows of each family spread by weight, none to weight 0, and stay where they are."""
import random

from support.python.scenario import Scenario
from support.python.template import FlowTemplate

CONFIG = "../configs/four_backends.cfg"


def make(s: Scenario) -> None:
    chance = random.Random(1)
    for family in (4, 6):
        template = FlowTemplate(family, number=10)
        flows = [(chance.randrange(1, 1 << 16), chance.randrange(1 << 16)) for _ in range(12_000)]
        flows = list(dict.fromkeys(flows))
        for port, host in flows:
            s.forwarded(template.frame(port, host))
        for port, host in flows[:2_000]:  # known flows
            s.forwarded(template.frame(port, host))
