"""--down weighted/five: its flows go to the others by weight; the dead one gets nothing."""
import random

from support.python.scenario import Scenario
from support.python.template import FlowTemplate

CONFIG = "../configs/four_backends.cfg"


def make(s: Scenario) -> None:
    s.down = ["weighted/five"]
    chance = random.Random(2)
    for family in (4, 6):
        template = FlowTemplate(family, number=10)
        for _ in range(3_000):
            s.forwarded(template.frame(chance.randrange(1, 1 << 16), chance.randrange(1 << 16)))
