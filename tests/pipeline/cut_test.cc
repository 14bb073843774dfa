// Flows that are cut: the RST to the client byte for byte, the one to the backend as a RST of the client's
// own would have reached it, and what becomes of the flow, of its gauges and of every mbuf.
#include "tests/drivers/eal_fixture.h"
#include "tests/support/small_world.h"

namespace weir::test {
namespace {

constexpr std::size_t kL2 = 14;
constexpr Tick kNow{100};

bool is_v4(const Bytes& frame) { return word_at(frame, 12) == 0x0800; }

// The offset of the TCP header, of frames that this test makes: at most one extension header.
std::size_t tcp_at(const Bytes& frame) {
    if (is_v4(frame)) return kL2 + (frame[kL2] & 15u) * 4u;
    return kL2 + 40 + (frame[kL2 + 6] == 6 ? 0 : 8u + frame[kL2 + 41] * 8u);
}

void finish(Bytes& frame) {
    const std::size_t tcp = tcp_at(frame), length = frame.size() - tcp;
    if (is_v4(frame)) {
        put_word(frame, kL2 + 2, static_cast<std::uint16_t>(frame.size() - kL2));
        put_word(frame, kL2 + 10, 0);
        put_word(frame, kL2 + 10, internet_checksum(std::span(frame).subspan(kL2, tcp - kL2)));
    } else {
        put_word(frame, kL2 + 4, static_cast<std::uint16_t>(frame.size() - kL2 - 40));
    }
    put_word(frame, tcp + 16, 0);
    Bytes covered;
    append(covered,
           is_v4(frame) ? std::span(frame).subspan(kL2 + 12, 8) : std::span(frame).subspan(kL2 + 8, 32));
    append_word(covered, 6);
    append_word(covered, length);
    append(covered, std::span(frame).subspan(tcp));
    put_word(frame, tcp + 16, internet_checksum(covered));
}

// A well-formed option of the IP header: IPv4's router alert, or an extension header of padding.
Bytes with_ip_options(Bytes frame) {
    if (is_v4(frame)) {
        frame[kL2] = 0x46;
        const Bytes option{148, 4, 0, 0};
        frame.insert(frame.begin() + kL2 + 20, option.begin(), option.end());
    } else {
        frame[kL2 + 6] = 60;
        const Bytes header{6, 0, 1, 4, 0, 0, 0, 0};
        frame.insert(frame.begin() + kL2 + 40, header.begin(), header.end());
    }
    finish(frame);
    return frame;
}
Bytes with_tcp_options(Bytes frame) {
    const std::size_t tcp = tcp_at(frame);
    frame[tcp + 12] = 0x80;
    const Bytes options{1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8};
    frame.insert(frame.begin() + static_cast<std::ptrdiff_t>(tcp) + 20, options.begin(), options.end());
    finish(frame);
    return frame;
}

// What the client would have sent, had it known.
Bytes reset_of_client(Bytes frame) {
    const std::size_t tcp = tcp_at(frame);
    frame.resize(tcp + 20);
    frame[tcp + 12] = 0x50;
    frame[tcp + 13] = static_cast<std::uint8_t>(kRst | (frame[tcp + 13] & kAck));
    put_word(frame, tcp + 14, 0);
    put_word(frame, tcp + 18, 0);
    finish(frame);
    return frame;
}

// RFC 9293 3.10.7.1, by hand.
Bytes reset_to_client(const Bytes& frame) {
    const std::size_t tcp = tcp_at(frame);
    Bytes reset(frame.begin() + 6, frame.begin() + 12);
    append(reset, std::span(frame).first(6));
    append(reset, std::span(frame).subspan(12, 2));
    if (is_v4(frame)) {
        append(reset, Bytes{0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0});
        append(reset, std::span(frame).subspan(kL2 + 16, 4));
        append(reset, std::span(frame).subspan(kL2 + 12, 4));
    } else {
        append(reset, Bytes{0x60, 0, 0, 0, 0, 20, 6, 64});
        append(reset, std::span(frame).subspan(kL2 + 24, 16));
        append(reset, std::span(frame).subspan(kL2 + 8, 16));
    }
    append(reset, std::span(frame).subspan(tcp + 2, 2));
    append(reset, std::span(frame).subspan(tcp, 2));
    if ((frame[tcp + 13] & kAck) != 0) {
        append(reset, std::span(frame).subspan(tcp + 8, 4));
        append(reset, Bytes{0, 0, 0, 0, 0x50, kRst});
    } else {
        const std::uint32_t length = static_cast<std::uint32_t>(frame.size() - tcp) -
                                     (frame[tcp + 12] >> 4) * 4u + (frame[tcp + 13] & kFin);
        const std::uint32_t sequence = std::uint32_t{word_at(frame, tcp + 4)} << 16 | word_at(frame, tcp + 6);
        append(reset, Bytes{0, 0, 0, 0});
        append_word(reset, (sequence + length) >> 16);
        append_word(reset, (sequence + length) & 0xffff);
        append(reset, Bytes{0x50, kRst | kAck});
    }
    append(reset, Bytes{0, 0, 0, 0, 0, 0});
    finish(reset);
    return reset;
}

// Backends "a" of every pool are cut: what the control core makes of a dead one whose flows are to be reset.
ForwardingSnapshot with_a_cut(SmallWorld& world) {
    const ForwardingSnapshot before = world.worker().world();
    std::vector<BackendId> cut;
    for (unsigned n = 1; n <= kModes; ++n)
        for (const auto& backend : world.world().ids().find_pool("mode" + std::to_string(n))->backends)
            if (backend.name == "a") cut.push_back(backend.id);
    for (const BackendId id : cut) world.world().set_eligible(id, false);
    world.world().republish();
    world.latch_all();
    ForwardingSnapshot after = world.worker().world();
    for (std::size_t mode = 0; mode < kForwardingModes; ++mode) {
        auto chunks = after.backends[mode].chunks();
        for (std::size_t c = 0; c < chunks.size(); ++c) {
            auto changed = std::make_shared<BackendChunk>(*chunks[c]);
            for (const BackendId id : cut) {
                BackendRecord& record = (*changed)[index(id)];
                record = before.backends[mode][id];
                record.cut_pool = std::exchange(record.pool, kNoPool);
                record.state = TrafficState::cut;
            }
            chunks[c] = std::move(changed);
        }
        after.backends[mode] = BackendView(std::move(chunks));
    }
    return after;
}

class CutTest : public DriversTest {
  protected:
    ~CutTest() override { EXPECT_EQ(frames_.in_use(), 0u); }

    std::vector<Bytes> send(SmallWorld& world, rte_mbuf* packet, Tick now = kNow) {
        world.worker().run({&packet, 1}, now);
        return world.worker().take();
    }
    std::vector<Bytes> send(SmallWorld& world, const Bytes& frame, Tick now = kNow) {
        return send(world, frames_.frame(frame), now);
    }
    void establish(SmallWorld& world, const Tuple& flow) {
        send(world, tcp_frame(flow, kSyn));
        send(world, tcp_frame(flow, kAck));
    }
    // A flow to the VIP of a mode that goes to its backend "a", established in both worlds.
    Tuple flow_at_a(unsigned mode, bool v6, std::initializer_list<SmallWorld*> worlds) {
        SmallWorld probe(all_modes_config());
        const auto at_a = [&]() -> std::uint64_t {
            const auto& backends = probe.world().ids().find_pool("mode" + std::to_string(mode))->backends;
            return probe.worker().counters().backends[index(backends[0].id)].packets.value();
        };
        Tuple flow;
        for (std::uint32_t n = 1;; ++n) {
            flow = client_flow(n, mode_vip(mode, v6));
            send(probe, tcp_frame(flow, kSyn));
            if (at_a() != 0) break;
        }
        for (SmallWorld* world : worlds) establish(*world, flow);
        return flow;
    }
    static std::uint64_t entries(SmallWorld& world) { return world.worker().pipeline().flows().entries(); }

    FramePool frames_{"cut", 1023};
};

TEST_F(CutTest, client_and_backend_get_their_rst_in_every_mode_and_family) {
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true})
            for (const std::uint8_t flags : {kAck, std::uint8_t{kFin | kAck}, kFin, std::uint8_t{0}})
                for (const int shape : {0, 1, 2, 3}) {
                    SmallWorld cut(all_modes_config()), twin(all_modes_config());
                    const Tuple flow = flow_at_a(mode, v6, {&cut, &twin});
                    const ForwardingSnapshot world = with_a_cut(cut);
                    cut.worker().use(world);
                    Bytes frame = tcp_frame(flow, flags, shape == 0 ? 0 : 101);
                    if (shape == 2) frame = with_ip_options(with_tcp_options(frame));
                    rte_mbuf* packet =
                        shape == 3 ? frames_.chain(frame, {tcp_at(frame) + 20, 130}) : frames_.frame(frame);
                    const std::vector<Bytes> sent = send(cut, packet);
                    ASSERT_EQ(sent.size(), 2u) << "mode " << mode;
                    EXPECT_EQ(sent[0], send(twin, reset_of_client(frame)).at(0))
                        << "mode " << mode << " v6 " << v6 << " flags " << int{flags} << " shape " << shape;
                    EXPECT_EQ(sent[1], reset_to_client(frame))
                        << "mode " << mode << " v6 " << v6 << " flags " << int{flags} << " shape " << shape;
                    const WorkerCounters& counters = cut.worker().counters();
                    EXPECT_EQ(counters.originated[kOriginatedRst].value(), 1u);
                    EXPECT_EQ(counters.forwarded.value(), counters.received.value());
                    EXPECT_EQ(entries(cut), 0u);
                    cut.expect_consistent();
                }
}

TEST_F(CutTest, one_rst_for_a_known_flow_and_none_for_what_comes_after_it) {
    SmallWorld cut(all_modes_config());
    const Tuple flow = flow_at_a(2, false, {&cut});
    const ForwardingSnapshot world = with_a_cut(cut);
    cut.worker().use(world);
    std::vector<rte_mbuf*> burst;
    for (int n = 0; n < 10; ++n) burst.push_back(frames_.frame(tcp_frame(flow, kAck, 10)));
    cut.worker().run(burst, kNow);
    EXPECT_EQ(cut.worker().take().size(), 11u);
    const WorkerCounters& counters = cut.worker().counters();
    EXPECT_EQ(counters.originated[kOriginatedRst].value(), 1u);
    EXPECT_EQ(entries(cut), 1u) << "what was under way is a flow of another backend";
    cut.expect_consistent();
    for (std::uint32_t n = 5000; n < 5064; ++n)
        EXPECT_EQ(send(cut, tcp_frame(client_flow(n, mode_vip(2, false)), kAck)).size(), 1u);
    EXPECT_EQ(counters.originated[kOriginatedRst].value(), 1u) << "flows that somebody made up";
}

TEST_F(CutTest, a_whole_burst_of_flows_is_cut_at_once) {
    SmallWorld cut(all_modes_config());
    std::vector<rte_mbuf*> burst;
    for (std::uint32_t n = 0; n < 200; ++n) establish(cut, client_flow(n, mode_vip(4, false)));
    const auto& backends = cut.world().ids().find_pool("mode4")->backends;
    const std::uint64_t at_a = cut.worker().counters().backends[index(backends[0].id)].active_flows.value();
    ASSERT_GT(at_a, 64u);
    const ForwardingSnapshot world = with_a_cut(cut);
    cut.worker().use(world);
    for (std::uint32_t n = 0; n < 200; ++n)
        burst.push_back(frames_.frame(tcp_frame(client_flow(n, mode_vip(4, false)), kAck, 10)));
    cut.worker().run(burst, kNow);
    EXPECT_EQ(cut.worker().take().size(), 200u + at_a);
    EXPECT_EQ(cut.worker().counters().originated[kOriginatedRst].value(), at_a);
    EXPECT_EQ(entries(cut), 200 - at_a);
    cut.expect_consistent();
}

TEST_F(CutTest, a_rst_goes_through_a_syn_and_a_datagram_begin_a_flow_elsewhere) {
    SmallWorld cut(all_modes_config()), twin(all_modes_config());
    const Tuple one = flow_at_a(2, false, {&cut, &twin});
    const auto& backends = cut.world().ids().find_pool("mode2")->backends;
    const BackendId a = backends[0].id, b = backends[1].id;
    Tuple udp = one;
    for (udp.source_port = 1;; ++udp.source_port) {
        const std::uint64_t before = cut.worker().counters().backends[index(a)].packets.value();
        send(cut, udp_frame(udp));
        if (cut.worker().counters().backends[index(a)].packets.value() != before) break;
    }
    const ForwardingSnapshot world = with_a_cut(cut);
    cut.worker().use(world);
    const WorkerCounters& counters = cut.worker().counters();
    const std::uint64_t before = entries(cut);

    EXPECT_EQ(send(cut, tcp_frame(one, kRst)), send(twin, tcp_frame(one, kRst)));
    EXPECT_EQ(entries(cut), before - 1);
    const std::uint64_t at_b = counters.backends[index(b)].packets.value();
    EXPECT_EQ(send(cut, udp_frame(udp)).size(), 1u);
    EXPECT_EQ(counters.backends[index(b)].packets.value(), at_b + 1);
    EXPECT_EQ(entries(cut), before - 1) << "bound anew";
    cut.expect_consistent();

    SmallWorld other(all_modes_config());
    const Tuple two = flow_at_a(2, true, {&other});
    const ForwardingSnapshot other_world = with_a_cut(other);
    other.worker().use(other_world);
    EXPECT_EQ(send(other, tcp_frame(two, kSyn)).size(), 1u);
    EXPECT_EQ(other.worker().counters().backends[index(b)].active_flows.value(), 1u);
    EXPECT_EQ(other.worker().counters().backends[index(a)].active_flows.value(), 0u);
    EXPECT_EQ(counters.originated[kOriginatedRst].value(), 0u);
    other.expect_consistent();
}

TEST_F(CutTest, a_backend_that_cannot_be_reached_is_not_told_and_the_client_is) {
    for (const bool v6 : {false, true}) {
        SmallWorld cut(all_modes_config());
        const Tuple flow = flow_at_a(5, v6, {&cut});
        ForwardingSnapshot world = with_a_cut(cut);
        for (BackendView& view : world.backends) {
            auto chunks = view.chunks();
            for (auto& chunk : chunks) {
                auto changed = std::make_shared<BackendChunk>(*chunk);
                for (BackendRecord& record : *changed) record.resolved = false, record.max_packet_length = 0;
                chunk = std::move(changed);
            }
            view = BackendView(std::move(chunks));
        }
        cut.worker().use(world);
        const Bytes frame = tcp_frame(flow, kAck, 20);
        EXPECT_EQ(send(cut, frame), std::vector<Bytes>{reset_to_client(frame)});
        EXPECT_EQ(dropped(cut.worker().counters(), DropReason::flow_cut), 1u);
        const ServiceId service =
            v6 ? world.services.find_exact(flow.destination.v6(), IpProtocol::tcp, Be16(80))
               : world.services.find_exact(flow.destination.v4(), IpProtocol::tcp, Be16(80));
        EXPECT_EQ(cut.worker()
                      .counters()
                      .services[index(service)]
                      .dropped[static_cast<std::size_t>(DropReason::flow_cut) -
                               static_cast<std::size_t>(kFirstServiceReason)]
                      .value(),
                  1u);
        EXPECT_EQ(entries(cut), 0u);
        cut.expect_consistent();
    }
}

TEST_F(CutTest, a_rst_that_cannot_be_sent_is_counted_and_changes_no_verdict) {
    for (const int want : {0, 1, 2}) {  // no mbuf, a full device, a disabled port
        SmallWorld cut(all_modes_config());
        const Tuple flow = flow_at_a(2, false, {&cut});
        ForwardingSnapshot world = with_a_cut(cut);
        cut.worker().use(world);
        rte_mbuf* packet = frames_.frame(tcp_frame(flow, kAck, 10));
        std::vector<rte_mbuf*> hoard;
        if (want == 0)
            while (rte_mbuf* taken = rte_pktmbuf_alloc(packet->pool)) hoard.push_back(taken);
        if (want == 1) cut.worker().wire().room = 1;
        if (want == 2) world.ports[0].enabled = false;
        const std::vector<Bytes> sent = send(cut, packet);
        for (rte_mbuf* taken : hoard) rte_pktmbuf_free(taken);
        const WorkerCounters& counters = cut.worker().counters();
        EXPECT_EQ(sent.size(), want == 2 ? 0u : 1u);
        EXPECT_EQ(dropped(counters, DropReason::port_down), want == 2 ? 1u : 0u);
        EXPECT_EQ(counters.originated[kOriginatedRst].value(), 0u);
        EXPECT_EQ(counters.originated_lost[kOriginatedRst].value(), 1u);
        EXPECT_EQ(entries(cut), 0u);
        cut.expect_consistent();
    }
}

TEST_F(CutTest, cut_flows_wait_for_their_packet_or_their_timeout) {
    SmallWorld cut(all_modes_config());
    flow_at_a(2, false, {&cut});
    const ForwardingSnapshot world = with_a_cut(cut);
    cut.worker().use(world);
    for (int sweep = 0; sweep < 4; ++sweep) cut.worker().sweep_all(kNow);
    EXPECT_EQ(entries(cut), 1u);
    cut.expect_consistent();
    cut.worker().sweep_all(kNow + world.timeouts[FlowState::tcp_established].ticks());
    EXPECT_EQ(entries(cut), 0u);
    cut.expect_consistent();
}

TEST_F(CutTest, the_rst_has_the_tags_of_the_port_and_the_dynamic_fields_of_the_packet) {
    std::vector<PortFacts> facts = edge_facts();
    facts[0].vlan = {100};
    SmallWorld cut(all_modes_config(), facts);
    const Tuple flow = flow_at_a(1, true, {&cut});
    const ForwardingSnapshot world = with_a_cut(cut);
    cut.worker().use(world);
    const Bytes frame = tcp_frame(flow, kAck);
    rte_mbuf* packet = frames_.frame(frame);
    packet->dynfield1[3] = 0xabcd'1234;
    cut.worker().run({&packet, 1}, kNow);
    ASSERT_EQ(cut.worker().wire().taken.size(), 2u);
    rte_mbuf* reset = cut.worker().wire().taken[1];
    EXPECT_EQ(reset->dynfield1[3], 0xabcd'1234);
    rte_mbuf_sanity_check(reset, 1);
    Bytes expected = reset_to_client(frame);
    const Bytes tag{0x81, 0, 0, 100};
    expected.insert(expected.begin() + 12, tag.begin(), tag.end());
    EXPECT_EQ(bytes_of(*reset), expected);
    EXPECT_EQ(word_at(bytes_of(*cut.worker().wire().taken[0]), 12), 0x8100);
    EXPECT_EQ(cut.worker().take().size(), 2u);
}

}  // namespace
}  // namespace weir::test
