// The plain path (stages/plain.h) against parse and classify, for which it stands: what it takes they would
// have handed on in the same way, and what is plain by this test's own words it takes.
#include <random>
#include <set>

#include "dataplane/stages/classify.h"
#include "dataplane/stages/parse.h"
#include "dataplane/stages/plain.h"
#include "tests/dataplane/figure.h"
#include "tests/drivers/eal_fixture.h"
#include "tests/support/frame_kinds.h"

namespace weir::test {
namespace {

constexpr std::uint64_t kGood = RTE_MBUF_F_RX_IP_CKSUM_GOOD, kBad = RTE_MBUF_F_RX_IP_CKSUM_BAD,
                        kVlan = RTE_MBUF_F_RX_VLAN | RTE_MBUF_F_RX_VLAN_STRIPPED,
                        kQinq = RTE_MBUF_F_RX_QINQ | RTE_MBUF_F_RX_QINQ_STRIPPED;

// A frame as a device would hand it over.
struct Arrival {
    std::string name;
    Bytes bytes;
    std::vector<std::size_t> cuts;  // of a chain
    std::uint64_t flags = 0;
};

IpAddress special_vip(unsigned number, bool v6) {
    return ip((v6 ? "2001:db8:100::" : "203.0.113.") + std::to_string(number));
}
constexpr unsigned kRangeVip = 20, kAnyVip = 21, kMixedVip = 22, kTcpOnlyVip = 23;

// Besides single ports of both protocols: ranges, all ports, all of these at once, and TCP alone.
Config config_of_test() {
    Config config = all_modes_config();
    const auto add = [&config](unsigned vip, const char* name, const std::vector<PortRange>& ports,
                               bool udp) {
        for (const bool v6 : {false, true}) {
            ServiceConfig made = service(std::string(name) + (v6 ? "-v6" : "-v4"), "203.0.113.1", "mode1");
            made.vip = special_vip(vip, v6);
            made.udp = udp;
            made.ports = ports;
            config.services.push_back(std::move(made));
        }
    };
    add(kRangeVip, "range", {{8000, 8099, false}}, true);
    add(kAnyVip, "any", {{0, 65'535, true}}, true);
    add(kMixedVip, "mixed", {{0, 65'535, true}}, true);
    add(kMixedVip, "mixed-range", {{79, 90, false}}, true);
    add(kMixedVip, "mixed-single", {{80, 80, false}}, true);
    add(kTcpOnlyVip, "tcp-only", {{80, 80, false}, {65'535, 65'535, false}}, false);
    return config;
}

// Destination, protocol and port in one.
std::string endpoint(std::span<const std::uint8_t> address, unsigned protocol, unsigned l4_port) {
    return std::string(address.begin(), address.end()) + '/' + std::to_string(protocol) + '/' +
           std::to_string(l4_port);
}

std::set<std::string> single_ports_of(const Config& config) {
    std::set<std::string> single;
    for (const ServiceConfig& service : config.services)
        for (const PortRange& range : service.ports) {
            if (range.any || range.first != range.last) continue;
            if (service.tcp) single.insert(endpoint(wire_bytes(service.vip), 6, range.first));
            if (service.udp) single.insert(endpoint(wire_bytes(service.vip), 17, range.first));
        }
    return single;
}

// A burst whose columns are filled, so that each write shows.
Burst filled_burst(rte_mbuf* packet, std::uint32_t at) {
    Burst burst(PortId{0});
    burst.size = kBurstSize;
    burst.packet.fill(nullptr);
    burst.packet[at] = packet;
    burst.reason.fill(DropReason::no_service);
    burst.ip_length.fill(0xeeee);
    burst.family.fill(Family::v6);
    burst.hash.fill(0xeeee'eeee'eeee'eeee);
    burst.bucket.fill(nullptr);
    burst.service.fill(ServiceId{0xeeee});
    burst.l4_offset.fill(0xeeee);
    burst.event.fill(FlowEvent{0xee});
    return burst;
}

std::vector<std::uint32_t> positions(const IndexList& list) {
    std::vector<std::uint32_t> all;
    for (const std::uint32_t i : list) all.push_back(i);
    return all;
}
std::vector<std::uint32_t> positions(const IndexSet& set) {
    std::vector<std::uint32_t> all;
    set.for_each([&all](std::uint32_t i) { all.push_back(i); });
    return all;
}

// The first column in which two bursts differ, or none.
const char* difference(const Burst& a, const Burst& b) {
    if (positions(a.flows) != positions(b.flows)) return "flows";
    if (positions(a.local) != positions(b.local)) return "local";
    if (positions(a.missed) != positions(b.missed)) return "missed";
    if (positions(a.dropped) != positions(b.dropped)) return "dropped";
    if (positions(a.answered) != positions(b.answered)) return "answered";
    if (a.reason != b.reason) return "reason";
    if (a.ip_length != b.ip_length) return "ip_length";
    if (a.l4_offset != b.l4_offset) return "l4_offset";
    if (a.service != b.service) return "service";
    if (a.family != b.family) return "family";
    if (a.event != b.event) return "event";
    if (a.hash != b.hash) return "hash";  // under a secret key: so the 5-tuples are the same
    if (a.bucket != b.bucket) return "bucket";
    if (a.packet != b.packet || a.size != b.size) return "packet";
    return nullptr;
}

class PlainTest : public DriversTest {
  protected:
    struct Tally {
        std::uint64_t frames = 0, taken = 0, plain = 0;
    };

    PlainTest() {
        std::array<std::uint8_t, kHashKeyBytes> secret{};
        secret[3] = 9;
        hash_key_ = HashKey(secret);
        for (const bool any : {false, true}) {
            ports_[any] = world_.worker().world().ports[0];
            ports_[any].any_destination_mac = any;
        }
    }

    // Both ways with the same frame, at a place in the burst that differs from frame to frame.
    void check(const Arrival& arrival) {
        if (HasFatalFailure()) return;  // one frame says enough
        rte_mbuf* packet = frames_.chain(arrival.bytes, arrival.cuts);
        packet->ol_flags |= arrival.flags;
        for (const PortRecord& port : ports_) check(arrival, packet, port);
        rte_pktmbuf_free(packet);
    }
    void check_with_all_flags(const Arrival& arrival) {
        for (const std::uint64_t flags :
             {std::uint64_t{0}, kGood, kBad, kGood | kBad, kVlan, kQinq | kGood}) {
            Arrival flagged = arrival;
            flagged.flags = flags;
            check(flagged);
        }
    }

    Tally tally_;

  private:
    void check(const Arrival& arrival, rte_mbuf* packet, const PortRecord& port) {
        const ClassifyContext context{world_.worker().world(), hash_key_, world_.worker().pipeline().flows()};
        const auto at = static_cast<std::uint32_t>(tally_.frames++ % kBurstSize);
        const Burst before = filled_burst(packet, at);
        Burst fast = before;
        const PlainContext plain(port, context);
        const bool taken = plain.take<V4>(fast, at) || plain.take<V6>(fast, at);
        Burst slow = before;
        if (taken) {
            ++tally_.taken;
            const Parsed parsed = parse(slow, at, port);
            if (parsed == Parsed::ipv4) classify<V4>(slow, at, context);
            if (parsed == Parsed::ipv6) classify<V6>(slow, at, context);
        }
        // What was not taken must be as it was.
        if (const char* column = difference(fast, slow))
            fail(arrival, port,
                 std::string(taken ? "taken, differs in " : "not taken, yet changed ") + column);
        if (!is_plain(arrival, port.any_destination_mac)) return;
        ++tally_.plain;
        if (!taken) fail(arrival, port, "plain, yet not taken");
    }

    // In words of its own, from the formats of RFC 791, 8200, 9293 and 768. Not all that the path takes: what
    // it must.
    [[nodiscard]] bool is_plain(const Arrival& arrival, bool any_mac) const {
        const Bytes& frame = arrival.bytes;
        if (!arrival.cuts.empty() || (arrival.flags & (kVlan | kQinq)) != 0 || frame.size() < 54)
            return false;
        const std::array<std::uint8_t, 6> ours{2, 0, 0, 0, 0, 1};
        const bool for_us = any_mac ? frame[0] % 2 == 0 : std::equal(ours.begin(), ours.end(), frame.begin());
        const bool source_is_zero = std::count(frame.begin() + 6, frame.begin() + 12, 0) == 6;
        if (!for_us || frame[6] % 2 == 1 || source_is_zero) return false;
        const auto ip = std::span(frame).subspan(kEthernet);
        const std::uint16_t type = word_at(frame, 12);
        if (type == 0x0800) return is_plain_v4(ip, (arrival.flags & (kGood | kBad)) == kGood);
        return type == 0x86dd && frame.size() >= 74 && is_plain_v6(ip);
    }
    [[nodiscard]] bool is_plain_v4(std::span<const std::uint8_t> ip, bool checksum_is_good) const {
        const std::size_t length = word_at(ip, 2);
        const bool source_is_usual = ip[12] >= 1 && ip[12] <= 223 && ip[12] != 127;
        const bool to_itself = std::equal(&ip[12], &ip[16], &ip[16]);
        if (ip[0] != 0x45 || length < 20 || length > ip.size() || ip[8] == 0 ||
            (word_at(ip, 6) & 0x3fff) != 0)
            return false;
        if (!source_is_usual || to_itself) return false;
        if (!checksum_is_good && internet_checksum(ip.first(20)) != 0) return false;
        return is_plain_l4(ip.first(length), 20, ip[9], ip.subspan(16, 4));
    }
    [[nodiscard]] bool is_plain_v6(std::span<const std::uint8_t> ip) const {
        const std::size_t length = std::size_t{40} + word_at(ip, 4);
        const bool source_is_usual = ip[8] >= 0x20 && ip[8] < 0xfe;
        const bool to_itself = std::equal(&ip[8], &ip[24], &ip[24]);
        if (ip[0] >> 4 != 6 || length > ip.size() || ip[7] == 0 || !source_is_usual || to_itself)
            return false;
        return is_plain_l4(ip.first(length), 40, ip[6], ip.subspan(24, 16));
    }
    [[nodiscard]] bool is_plain_l4(std::span<const std::uint8_t> packet, std::size_t at, unsigned protocol,
                                   std::span<const std::uint8_t> vip) const {
        const auto l4 = packet.subspan(at);
        if (protocol != 6 && protocol != 17) return false;
        const std::size_t least = protocol == 6 ? 20 : 8;
        if (l4.size() < least) return false;
        const std::size_t said = protocol == 6 ? (l4[12] >> 4) * 4u : word_at(l4, 4);
        if (said < least || said > l4.size()) return false;
        return single_ports_.contains(endpoint(vip, protocol, word_at(l4, 2)));
    }

    static void fail(const Arrival& arrival, const PortRecord& port, const std::string& what) {
        std::string bytes;
        for (const std::uint8_t byte : arrival.bytes) {
            bytes += "0123456789abcdef"[byte >> 4];
            bytes += "0123456789abcdef"[byte & 15];
        }
        std::string cuts;
        for (const std::size_t cut : arrival.cuts) cuts += " " + std::to_string(cut);
        FAIL() << what << ": " << arrival.name << (port.any_destination_mac ? ", any MAC" : "") << ", flags "
               << arrival.flags << ", cuts" << cuts << ", bytes " << bytes;
    }

    SmallWorld world_{config_of_test()};
    std::set<std::string> single_ports_ = single_ports_of(config_of_test());
    std::array<PortRecord, 2> ports_;
    HashKey hash_key_ = HashKey::zero();
    FramePool frames_{"plain", 255};
};

std::vector<NamedFrame> all_frames() {
    std::vector<NamedFrame> all = frames_of_every_kind();
    for (const bool v6 : {false, true}) {
        for (const std::uint16_t l4_port : Words{0, 79, 80, 91, 7999, 8000, 8099, 8100, 65'535})
            for (const unsigned vip : {kRangeVip, kAnyVip, kMixedVip, kTcpOnlyVip})
                add_flows(all, "VIP " + std::to_string(vip), special_vip(vip, v6), l4_port);
        add_flows(all, "no VIP", special_vip(99, v6), 80);
    }
    return all;
}

TEST_F(PlainTest, agrees_with_parse_and_classify_on_frames_of_every_kind) {
    for (const NamedFrame& frame : all_frames()) {
        check_with_all_flags({frame.name, frame.bytes, {}});
        for (const std::size_t padding : {1u, 6u, 40u})
            check({frame.name + ", padded", with_size(frame.bytes, frame.bytes.size() + padding), {}});
    }
    EXPECT_GT(tally_.plain, 1'000u);
    EXPECT_LT(tally_.taken, tally_.frames / 2);
    print_figure("%lu frames, %lu of them plain, %lu taken", tally_.frames, tally_.plain, tally_.taken);
}

TEST_F(PlainTest, agrees_on_frames_cut_short_and_on_chains_cut_anywhere) {
    for (const NamedFrame& frame : all_frames()) {
        const std::size_t size = frame.bytes.size();
        for (std::size_t at = 0; at < std::min<std::size_t>(size, 110); ++at) {
            check({frame.name + ", cut short", with_size(frame.bytes, at), {}});
            check({frame.name + ", a chain", frame.bytes, {at}});
            if (at % 4 == 0) check({frame.name + ", a chain of three", frame.bytes, {at, (at + size) / 2}});
        }
    }
    EXPECT_GT(tally_.taken, 10'000u) << "chains whose headers lie in the first segment";
    print_figure("%lu frames, %lu taken", tally_.frames, tally_.taken);
}

// The fast path must not go dead: every usual packet of a known flow goes through it.
TEST_F(PlainTest, takes_tcp_and_udp_of_every_mode_flag_and_size) {
    for (unsigned mode = 1; mode <= kModes; ++mode)
        for (const bool v6 : {false, true}) {
            const Tuple flow = client_flow(77, mode_vip(mode, v6));
            for (unsigned flags = 0; flags < 256; ++flags)
                check({"tcp", tcp_frame(flow, static_cast<std::uint8_t>(flags)), {}});
            for (std::size_t length = 12; length < 1'400; length += 7) {
                check({"tcp", tcp_frame(flow, kAck, length), {}});
                check({"udp", udp_frame(flow, length), {}, kGood});
            }
        }
    EXPECT_EQ(tally_.plain, tally_.frames);
    EXPECT_EQ(tally_.taken, tally_.frames);
}

// Random damage, most of it where headers are.
class Mutator {
  public:
    explicit Mutator(std::uint32_t seed) : random_(seed) {}

    Arrival mutate(const NamedFrame& original) {
        Arrival arrival{original.name + ", mutated", original.bytes, {}};
        const std::uint32_t changes = below(4);
        for (std::uint32_t n = 0; n < changes; ++n) change(arrival.bytes);
        if (below(2) == 0) correct_ipv4_checksum(arrival.bytes);
        if (below(6) == 0) {
            for (std::uint32_t n = 1 + below(3); n > 0; --n)
                arrival.cuts.push_back(below(static_cast<std::uint32_t>(arrival.bytes.size()) + 1));
            std::sort(arrival.cuts.begin(), arrival.cuts.end());
        }
        const std::uint64_t flags[] = {0, 0, kGood, kGood, kBad, kGood | kBad, kVlan, kQinq | kGood};
        arrival.flags = flags[below(8) == 0 ? below(8) : below(4)];
        return arrival;
    }
    std::uint32_t below(std::uint32_t bound) { return static_cast<std::uint32_t>(random_()) % bound; }

  private:
    void change(Bytes& frame) {
        if (frame.empty()) return;
        const auto size = static_cast<std::uint32_t>(frame.size());
        std::uint8_t& byte = frame[below(8) == 0 ? below(size) : below(std::min(size, 78u))];
        constexpr std::uint8_t kEdges[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff, 6, 17, 0x45, 0x60, 0x50};
        switch (below(7)) {
            case 0:
            case 1:
                byte = static_cast<std::uint8_t>(byte ^ 1u << below(8));
                break;
            case 2:
                byte = static_cast<std::uint8_t>(random_());
                break;
            case 3:
                byte = kEdges[below(sizeof(kEdges))];
                break;
            case 4:
                byte = static_cast<std::uint8_t>(byte + below(9) - 4);
                break;
            case 5:
                change_length(frame);
                break;
            default:
                frame.resize(below(3) == 0 ? below(120) : size + below(40) - std::min(size, 20u), 0x5a);
        }
    }
    // Those of IP, UDP and TCP, a little off.
    void change_length(Bytes& frame) {
        const std::size_t places[] = {kEthernet + 2,      kEthernet + 4,  kEthernet + 20 + 4,
                                      kEthernet + 40 + 4, kEthernet + 32, kEthernet + 52};
        const std::size_t at = places[below(6)];
        if (at + 2 > frame.size()) return;
        put_word(frame, at, static_cast<std::uint16_t>(word_at(frame, at) + below(65) - 32));
    }
    std::mt19937 random_;
};

TEST_F(PlainTest, agrees_on_mutated_frames) {
    const std::vector<NamedFrame> originals = all_frames();
    Mutator mutator(2026);
    for (unsigned n = 0; n < 300'000; ++n)
        check(mutator.mutate(originals[mutator.below(static_cast<std::uint32_t>(originals.size()))]));
    EXPECT_GT(tally_.plain, 20'000u);
    EXPECT_LT(tally_.taken, tally_.frames / 2);
    print_figure("%lu mutated frames, %lu of them plain, %lu taken", tally_.frames, tally_.plain,
                 tally_.taken);
}

}  // namespace
}  // namespace weir::test
