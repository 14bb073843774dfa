"""The load balancer, specified: what each packet may become, judged from captures and the report alone.

    problems = LoadBalancer(world).judge(arrivals, outputs, report)

For every packet received, in order:
 0. VLAN tags say which port a frame belongs to, or that it is dropped (vlan_rules); the rest is about untagged frames.
 1. A frame that something forbids (transport_rules.judge_frame) is dropped, for one of the reasons true of it.
 2. ARP, neighbour solicitation and echo request for a VIP are answered (answer_rules).
 3. A packet to a service goes to one backend of the service's pool that is in service, byte for byte as the
    mode says (rewrite_rules); never two outputs for one input.
    On a port with a host interface what is the kernel's (punt_rules) is punted in its class, or dropped
    punt_limited; nothing leaves.
 4. A known flow stays at its backend, with the same flow label and GUE source port. A backend that is down for a
    time loses its flows. New flows of a sticky pool's client stay together (sticky_rules).
 5. Many flows spread over the backends by weight.
 6. Outputs leave in the order of their inputs and carry their timestamps.
 7. received = forwarded + answered + punted + sum(dropped), and each counter is what the captures show.
It does not compute weir's hash: which backend a new flow gets is weir's choice, keeping it is not.
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, sqrt
from typing import NamedTuple

from oracle.answer_rules import answer_problem
from oracle.report import Report
from oracle.rewrite_rules import (Entropy, entropy_problem, expected_frame, first_difference, outer_length,
                                  read_entropy, same_entropy)
from oracle.sticky_rules import StickyClients
from oracle.transport_rules import Judgement, drop, judge_frame
from oracle.vlan_rules import sent_by, untag
from oracle.world import TCP, UDP, Backend, Service, World
from support.python.pcap_file import Record

FIN_OR_RST = 0x05
FEWEST_FLOWS_TO_JUDGE_SHARES = 1000


class Arrival(NamedTuple):
    """A received frame; `time` in nanoseconds."""

    time: int
    port: str
    frame: bytes


@dataclass(slots=True)
class FlowMemory:
    backend: Backend
    entropy: Entropy
    last: int
    # A FIN or RST was seen: weir may have forgotten the flow, or begin it anew. Or extension headers: a NIC may
    # give such a packet to another worker, which does not know the flow.
    ended: bool


def is_spread_by_flow(service: Service) -> bool:
    return service.pool.hash != "source_ip" and service.pool.stickiness is None


class LoadBalancer:
    def __init__(self, world: World, max_problems: int = 8) -> None:
        self.world = world
        self.max_problems = max_problems
        self.problems: list[str] = []
        self.verdicts: Counter[str] = Counter()
        self.drops: Counter[frozenset[str]] = Counter()
        self.punts: Counter[str] = Counter()  # by class, those over the limit included
        self.flows: dict[tuple[Service, tuple[bytes, bytes, bytes, int]], FlowMemory] = {}
        self.dropped_flows: set[tuple[Service, tuple[bytes, bytes, bytes, int]]] = set()
        self.new_flows: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # service: fewest, most
        self.flows_of: Counter[tuple[Service, Backend]] = Counter()
        self.service_packets: Counter[str] = Counter()
        self.backend_packets: Counter[tuple[str, str]] = Counter()
        self.learnt_macs: dict[bytes, bytes] = {}
        self.clients = StickyClients()

    def judge(self, arrivals: Iterable[Arrival], outputs: dict[str, list[Record]],
              report: Report | None) -> list[str]:
        heads = {port: 0 for port in outputs}
        received = 0
        for received, arrival in enumerate(arrivals, 1):
            if received == 1:
                self.world.start(arrival.time)
            sent = []
            for port, records in outputs.items():
                while heads[port] < len(records) and records[heads[port]].time == arrival.time:
                    sent.append(sent_by(self.world, port, records[heads[port]].frame))
                    heads[port] += 1
            trouble = self.judge_packet(arrival, sent)
            if trouble:
                self.note(f"packet {received} ({arrival.frame[:64].hex()}, {len(arrival.frame)} bytes): {trouble}")
        for port, records in outputs.items():
            if heads[port] < len(records):
                self.note(f"{port}: output {heads[port] + 1} and the {len(records) - heads[port] - 1} behind it "
                          "belong to no input, or are out of order")
        self.judge_spread()
        if report is not None:
            self.judge_report(report, received, sum(map(len, outputs.values())))
        return self.problems

    def note(self, problem: str) -> None:
        if len(self.problems) < self.max_problems:
            self.problems.append(problem)

    # --- one packet ------------------------------------------------------------------------------------

    def judge_packet(self, arrival: Arrival, sent: list[tuple[str, bytes]]) -> str:
        untagged = untag(self.world, arrival.port, arrival.frame)
        port, frame = untagged or (self.world.ports[arrival.port], arrival.frame)
        arrival = Arrival(arrival.time, port.name, frame)
        judgement = judge_frame(self.world, port, frame) if untagged else drop("vlan_tag")
        service = judgement.forward
        if service is not None:
            self.service_packets[service.name] += 1
            self.limit_by_mtu(judgement, service)
        if judgement.punt:
            self.punts[judgement.punt] += 1
            return "an output, but it is the kernel's" if sent else ""
        if not sent:
            if not judgement.reasons:
                return "no output, but nothing forbids the packet"
            self.drops[judgement.reasons] += 1
            self.verdicts["dropped"] += 1
            if service is not None and judgement.flow is not None:
                self.remember_dropped(service, judgement.flow)
            return ""
        if len(sent) > 1:
            return f"{len(sent)} outputs"
        egress, output = sent[0]
        if judgement.forward is not None:
            self.verdicts["forwarded"] += 1
            return self.judge_forwarded(arrival, judgement, judgement.forward, egress, output)
        if judgement.answer:
            self.verdicts["answered"] += 1
            if egress != arrival.port:
                return f"answered on port {egress}"
            return answer_problem(judgement.answer, port, arrival.frame, judgement.packet, output)
        return f"output {output[:64].hex()}, but it must be dropped: {sorted(judgement.reasons)}"

    def limit_by_mtu(self, judgement: Judgement, service: Service) -> None:
        packet = judgement.packet
        assert packet is not None
        fits = [outer_length(b, mode, packet) <= b.egress.mtu for b, mode in service.targets]
        if not all(fits):
            judgement.reasons |= {"too_big"}
        if not any(fits):
            judgement.forward = None

    def judge_forwarded(self, arrival: Arrival, judgement: Judgement, service: Service, egress: str,
                        output: bytes) -> str:
        packet, flow = judgement.packet, judgement.flow
        assert packet is not None and flow is not None
        known = self.flows.get((service, flow))
        closest = ""
        targets = [(b, mode) for b, mode in service.targets if not b.is_down(arrival.time)]
        for backend, mode in targets:
            mac = self.next_hop_mac(backend, output)
            entropy = read_entropy(output, backend, mode)
            expected = expected_frame(arrival.frame, packet, backend, mode, mac, entropy)
            if output == expected and egress == backend.egress.name:
                break
            if not closest or output[:34] == expected[:34]:
                closest = f"nearest is {backend.name} by {mode}: {first_difference(expected, output)}"
        else:
            return f"output {output[:64].hex()} is right for no backend in service; {closest}"
        self.learnt_macs[backend.next_hop] = mac
        self.backend_packets[backend.pool, backend.name] += 1
        trouble = entropy_problem(entropy, mode)
        if known is not None and known.backend.was_down_since(known.last, arrival.time):
            known = None
            self.flows.pop((service, flow))
        if known is not None and known.backend is not backend:
            trouble = f"its flow moved from {known.backend.name} to {backend.name}"
        elif known is not None and not same_entropy(known.entropy, entropy):
            trouble = f"its flow's {known.entropy} became {entropy}"
        flags = arrival.frame[packet.transport + 13] if packet.protocol == TCP else 0
        ended = bool(flags & FIN_OR_RST) or packet.extended
        if known is None and service.pool.stickiness is not None:
            expected_backend = self.clients.expected(service.pool, packet.source, arrival.time)
            if expected_backend not in (None, backend):
                trouble = f"its client belongs to {expected_backend.name}, not to {backend.name}"
            if not flags & FIN_OR_RST:
                self.clients.note(service.pool, packet.source, backend, arrival.time)
        self.remember(service, flow, FlowMemory(backend, entropy, arrival.time, ended))
        return trouble

    def next_hop_mac(self, backend: Backend, output: bytes) -> bytes:
        """A next hop without a configured MAC address: any unicast one will do, but always the same."""
        if backend.next_hop_mac is not None:
            return backend.next_hop_mac
        known = self.learnt_macs.get(backend.next_hop)
        taken = output[0] & 1 or output[:6] in self.learnt_macs.values()
        return known or (b"" if taken else output[:6])

    def remember(self, service: Service, flow: tuple[bytes, bytes, bytes, int], latest: FlowMemory) -> None:
        """Counts new flows as [certainly new, possibly new]: between them lie the state-dependent timeouts."""
        memory = self.flows.get((service, flow))
        bounds = self.new_flows[service.name]
        if memory is None:
            self.flows[service, flow] = latest
            self.flows_of[service, latest.backend] += 1
            bounds[0] += not latest.ended  # a stray FIN or RST opens nothing
            bounds[1] += (service, flow) not in self.dropped_flows
            return
        idle = (latest.last - memory.last) / 1e9
        limits = [limit for name, limit in self.world.timeouts.items() if (name == "udp") == (flow[3] == UDP)]
        bounds[0] += idle > 1.05 * max(limits)
        bounds[1] += idle > 0.95 * min(limits) or memory.ended
        latest.ended |= memory.ended
        self.flows[service, flow] = latest

    def remember_dropped(self, service: Service, flow: tuple[bytes, bytes, bytes, int]) -> None:
        """A packet that is too big for the tunnel may open a flow all the same."""
        if (service, flow) not in self.flows and (service, flow) not in self.dropped_flows:
            self.dropped_flows.add((service, flow))
            self.new_flows[service.name][1] += 1

    # --- all packets -----------------------------------------------------------------------------------

    def judge_spread(self) -> None:
        """Shares of the backends by weight; distinct flow labels and GUE ports as of random numbers."""
        entropies: dict[Service, list[Entropy]] = defaultdict(list)
        for (service, _), memory in self.flows.items():
            entropies[service].append(memory.entropy)
        for service, of_service in entropies.items():
            flows = len(of_service)
            if flows < FEWEST_FLOWS_TO_JUDGE_SHARES:
                continue
            weights = sum(backend.weight for backend, _ in service.targets)
            for backend, _ in service.targets:
                share, want = self.flows_of[service, backend] / flows, backend.weight / weights
                if abs(share - want) > 0.02 + 4 * sqrt(want * (1 - want) / flows) and is_spread_by_flow(service):
                    self.note(f"service {service.name}: backend {backend.name} has {share:.3f} of {flows} flows, "
                              f"its weight asks for {want:.3f}")
            for name, values, size in (("flow labels", {e.flow_label for e in of_service}, 1 << 20),
                                       ("GUE source ports", {e.source_port for e in of_service}, 1 << 14)):
                if values != {0} and len(values) < 0.9 * size * (1 - exp(-flows / size)):
                    self.note(f"service {service.name}: {flows} flows have only {len(values)} {name}")

    def judge_report(self, report: Report, received: int, sent: int) -> None:
        total_dropped = sum(report.dropped.values())
        limited = report.dropped.get("punt_limited", 0)
        for name, got, want in (
                ("received", report.received, received),
                ("forwarded", report.forwarded, self.verdicts["forwarded"]),
                ("answered", report.answered, self.verdicts["answered"]),
                ("packets in flight", report.in_flight, 0),
                ("sum of dropped", total_dropped - limited, self.verdicts["dropped"]),
                ("punted + punt_limited", report.punted + limited, self.punts.total()),
                ("punted by class", sum(report.punted_by_class.values()), report.punted),
                ("punt_limited by class", sum(report.punt_limited_by_class.values()), limited),
                ("forwarded + answered + punted + dropped",
                 report.forwarded + report.answered + report.punted + total_dropped, received),
                ("forwarded + answered + originated", report.forwarded + report.answered + report.originated, sent)):
            if got != want:
                self.note(f"report: {name} is {got}, the captures say {want}")
        for name in self.punts.keys() | report.punted_by_class.keys() | report.punt_limited_by_class.keys():
            got = report.punted_by_class.get(name, 0) + report.punt_limited_by_class.get(name, 0)
            if got != self.punts[name]:
                self.note(f"report: {got} packets in class {name}, the captures say {self.punts[name]}")
        for reason in set(report.dropped) - {"punt_limited"} | {r for reasons in self.drops for r in reasons}:
            least = sum(n for reasons, n in self.drops.items() if reasons == {reason})
            most = sum(n for reasons, n in self.drops.items() if reason in reasons)
            if not least <= report.dropped.get(reason, 0) <= most:
                self.note(f"report: dropped {reason} is {report.dropped.get(reason, 0)}, "
                          f"the captures say {least}" + (f" to {most}" if most != least else ""))
        for service, (least, most) in self.new_flows.items():
            if not least <= report.new_flows.get(service, -1) <= most:
                self.note(f"report: service {service} has {report.new_flows.get(service)} new flows, "
                          f"the captures say {least} to {most}")
        for key, packets in self.backend_packets.items():
            if report.backend_packets.get(key) != packets:
                self.note(f"report: backend {key} has {report.backend_packets.get(key)} packets, "
                          f"the captures say {packets}")
