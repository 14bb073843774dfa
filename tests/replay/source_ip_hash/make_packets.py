"""hash = "source_ip": all flows of a client go to one backend, whatever their ports."""
import random

from support.python.scenario import Scenario
from support.python.template import FlowTemplate

CONFIG = "../configs/four_backends.cfg"


def make(s: Scenario) -> None:
    chance = random.Random(4)
    for family in (4, 6):
        template = FlowTemplate(family, number=30)
        for host in range(200):
            for _ in range(5):
                s.forwarded(template.frame(chance.randrange(1, 1 << 16), host))
