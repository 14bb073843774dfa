// NAT64: an IPv6 VIP on IPv4 backends, both directions byte by byte (RFC 7915).
#include "tests/pipeline/identity_segments.h"
#include "tests/support/nat_world.h"

namespace weir::test {
namespace {

constexpr std::uint16_t kDontFragment = 0x4000;
const Link kIn{.to = {{2, 0, 0, 0, 0, 1}}, .from = {{2, 0, 0, 0, 0, 0xfe}}};

Config nat64_config() {
    Config config = nat_config();
    config.services = {service("web6", "2001:db8:100::10", "web", ForwardingMode::nat)};
    config.services[0].udp = true;
    return config;
}

// An IPv4 frame with this identification and these flags in place of what the builder writes.
Bytes with_id(Bytes frame, std::uint16_t id, std::uint16_t fragment) {
    put_word(frame, 18, id);
    put_word(frame, 20, fragment);
    put_word(frame, 24, 0);
    put_word(frame, 24, internet_checksum(std::span(frame).subspan(14, 20)));
    return frame;
}

// An atomic fragment header and destination options behind the IPv6 header, which translate to nothing.
Bytes with_extensions(const Bytes& frame) {
    const std::uint8_t protocol = frame[20];
    Bytes longer(frame.begin(), frame.begin() + 54);
    longer[20] = 60;
    append(longer, Bytes{44, 0, 1, 4, 0, 0, 0, 0});
    append(longer, Bytes{protocol, 0, 0, 0, 0xca, 0xfe, 0xba, 0xbe});
    append(longer, std::span(frame).subspan(54));
    put_word(longer, 18, static_cast<std::uint16_t>(word_at(frame, 18) + 16));
    return longer;
}

// The frame with four bytes of IPv4 options (no operation).
Bytes with_options(const Bytes& frame) {
    Bytes longer(frame.begin(), frame.begin() + 34);
    longer[14] = 0x46;
    append(longer, Bytes{1, 1, 1, 0});
    append(longer, std::span(frame).subspan(34));
    put_word(longer, 16, static_cast<std::uint16_t>(word_at(frame, 16) + 4));
    put_word(longer, 24, 0);
    put_word(longer, 24, internet_checksum(std::span(longer).subspan(14, 24)));
    return longer;
}

struct Case {
    bool udp;
    std::size_t length;
    std::uint8_t tos = 0;
};

class Nat64Test : public NatTest {
  protected:
    static Bytes frame(const Case& c, const Tuple& tuple, std::uint8_t flags, Link link) {
        link.tos = c.tos;
        return l4_frame(c.udp, tuple, flags, c.length, true, link);
    }
    static Link back_from(const Bytes& there) {
        Link link{.to = kIn.to, .from = {}};
        std::copy_n(there.begin(), 6, link.from.bytes.begin());
        return link;
    }
    std::uint32_t number_ = 0;
};

TEST_F(Nat64Test, both_directions_are_exact_to_the_byte) {
    start(nat64_config());
    std::uint16_t id = 0;
    for (const bool udp : {false, true})
        for (const std::size_t length : {0u, 1u, 100u, 1'001u, 1'220u, 1'221u, 1'300u})
            for (const std::uint8_t tos : {std::uint8_t{0}, std::uint8_t{0xb9}}) {
                const Case c{udp, length, tos};
                const Tuple client = flow(++number_, true);
                for (const bool extended : {false, true}) {
                    const Bytes sent = frame(c, client, kSyn, kIn);
                    const auto there = send(0, extended ? with_extensions(sent) : sent, Tick{100});
                    ASSERT_TRUE(there);
                    const Tuple translated = tuple_of(*there);
                    EXPECT_EQ(translated.source, ip("10.1.0.2"));
                    EXPECT_EQ(translated.destination_port, kBackendPort);
                    const Link out{.to = back_from(*there).from, .from = kIn.to};
                    const bool may_be_fragmented = 20 + (udp ? 8 : 20) + length <= 1'260;
                    if (may_be_fragmented) ++id;
                    EXPECT_EQ(*there, with_id(frame(c, translated, kSyn, out), may_be_fragmented ? id : 0,
                                              may_be_fragmented ? 0 : kDontFragment))
                        << length << (extended ? " extended" : "");
                    for (const bool has_options : {false, true}) {
                        const Bytes answer = frame(c, turned(translated), kSyn | kAck, back_from(*there));
                        const auto back = send(0, has_options ? with_options(answer) : answer, Tick{101});
                        ASSERT_TRUE(back);
                        EXPECT_EQ(*back,
                                  frame(c, turned(client), kSyn | kAck, {.to = kIn.from, .from = kIn.to}));
                    }
                }
            }
    EXPECT_EQ(world_->worker().counters().sessions.value(), number_);
    world_->expect_consistent();
}

TEST_F(Nat64Test, a_datagram_without_a_checksum_gets_one) {
    start(nat64_config());
    for (const std::size_t length : {0u, 1u, 2u, 555u, 1'200u})
        for (const std::size_t segments : {1u, 2u}) {
            const Tuple client = flow(++number_, true);
            const Tuple answer = turned(tuple_of(*send(0, udp_frame(client), Tick{100})));
            const Bytes without = udp_frame(answer, length, false);
            const std::vector<std::size_t> cuts =
                segments == 1 || length < 3 ? std::vector<std::size_t>{} : std::vector<std::size_t>{45};
            rte_mbuf* packet = frames_.chain(without, cuts);
            world_->worker().run({&packet, 1}, Tick{101});
            const std::vector<Bytes> back = world_->worker().take();
            ASSERT_EQ(back.size(), 1u);
            EXPECT_EQ(back[0], udp_frame(turned(client), length, true, {.to = kIn.from, .from = kIn.to}));
        }
}

// RFC 8200 8.1: over IPv6 a UDP checksum of 0 is an error. Over IPv4 it would say "none": it stays wrong.
TEST_F(Nat64Test, a_missing_checksum_is_not_made_valid) {
    start(nat64_config());
    const auto there = send(0, udp_frame(flow(1, true), 100, false), Tick{100});
    ASSERT_TRUE(there);
    EXPECT_NE(word_at(*there, 40), 0u);
    EXPECT_NE(word_at(*there, 40), word_at(udp_frame(tuple_of(*there), 100), 40));
}

TEST_F(Nat64Test, a_reply_that_no_longer_fits_is_refused_or_fragmented) {
    start(nat64_config());
    const Tuple client = flow(1, true);
    const Tuple answer = turned(tuple_of(*send(0, tcp_frame(client, kSyn), Tick{100})));
    EXPECT_TRUE(send(0, with_id(tcp_frame(answer, kAck, 1'440), 0, kDontFragment), Tick{101}))
        << "1,500 bytes over IPv6";
    const Bytes refused = with_id(tcp_frame(answer, kAck, 1'441), 0, kDontFragment);
    const auto error = send(0, refused, Tick{101});
    ASSERT_TRUE(error);
    EXPECT_EQ(drops(DropReason::reply_too_big), 1u);
    Bytes message{3, 4, 0, 0, 0, 0};
    append_word(message, 1'480);
    append(message, std::span(refused).subspan(14, 576 - 28));
    const Link back{.to = kIn.from, .from = kIn.to, .ttl = 64};
    EXPECT_EQ(*error,
              with_id(ip_frame(back, ip("10.1.0.2"), answer.source, 1, message, 2), 0, kDontFragment));
    EXPECT_EQ(world_->worker().counters().originated[kOriginatedIcmpError].value(), 1u);
}

TEST_F(Nat64Test, a_reply_that_may_be_fragmented_is) {
    start(nat64_config());
    for (const bool chained : {false, true})
        for (const std::size_t length : {1'453u, 1'472u, 3'000u}) {
            const Tuple client = flow(++number_, true);
            const Tuple answer = turned(tuple_of(*send(0, udp_frame(client), Tick{100})));
            const Bytes whole = udp_frame(turned(client), length, true, {.to = kIn.from, .from = kIn.to});
            const Bytes from_backend = with_id(udp_frame(answer, length), 0xbeef, 0);
            if (from_backend.size() > 1'900 && !chained) continue;  // more than an mbuf holds
            rte_mbuf* packet = frames_.chain(
                from_backend, chained ? std::vector<std::size_t>{101, 1'400} : std::vector<std::size_t>{});
            world_->worker().run({&packet, 1}, Tick{101});
            const std::vector<Bytes> fragments = world_->worker().take();
            ASSERT_EQ(fragments.size(), length > 2'900 ? 3u : 2u);
            Bytes joined(whole.begin(), whole.begin() + 54);
            for (std::size_t n = 0; n < fragments.size(); ++n) {
                const Bytes& fragment = fragments[n];
                EXPECT_LE(fragment.size(), 1'514u);
                EXPECT_TRUE(std::equal(fragment.begin(), fragment.begin() + 18, whole.begin()));
                EXPECT_TRUE(std::equal(fragment.begin() + 21, fragment.begin() + 54, whole.begin() + 21));
                EXPECT_EQ(fragment[20], 44) << "RFC 8200 4.5";
                EXPECT_EQ(fragment[54], 17);
                EXPECT_EQ(word_at(fragment, 18), fragment.size() - 54);
                EXPECT_EQ(word_at(fragment, 56), (joined.size() - 54) | (n + 1 < fragments.size() ? 1 : 0));
                EXPECT_EQ(word_at(fragment, 58), 0u);
                EXPECT_EQ(word_at(fragment, 60), 0xbeef) << "RFC 7915 4.1";
                append(joined, std::span(fragment).subspan(62));
            }
            EXPECT_EQ(joined, whole);
        }
    EXPECT_EQ(drops(DropReason::reply_too_big), 0u);
    world_->expect_consistent();
}

// client_identity_test.cc has the whole of it; here what the two families have in common: an IPv4 packet with
// an IPv6 address in it.
TEST_F(Nat64Test, an_ipv4_backend_is_told_of_its_ipv6_client) {
    for (const auto identity : {ClientIdentity::proxy_v1, ClientIdentity::proxy_v2, ClientIdentity::toa}) {
        Config config = nat64_config();
        config.services[0].udp = identity == ClientIdentity::proxy_v2;
        config.pools[0].client_address = identity;
        start(config);
        const bool has_header = identity != ClientIdentity::toa;
        for (const std::size_t length : {0u, 1u, 100u, 1'201u}) {
            const Tuple client = flow(++number_, true);
            const auto syn = send(0, segment_frame(client, {999, 0, kSyn}), Tick{100});
            ASSERT_TRUE(syn);
            const Tuple translated = tuple_of(*syn);
            ASSERT_TRUE(send(0, segment_frame(turned(translated), {5'000, 1'000, kSyn | kAck}), Tick{100}));
            const auto sent =
                send(0, segment_frame(client, {1'000, 5'001, kAck, payload(length)}), Tick{101});
            ASSERT_TRUE(sent);
            const Segment seen = segment_in(*sent);
            EXPECT_EQ(seen, (Segment{1'000, 5'001, kAck,
                                     has_header ? joined(proxy_header(identity, client), payload(length))
                                                : payload(length),
                                     has_header ? Bytes{} : toa_option(client)}));
            EXPECT_EQ(*sent, with_id(segment_frame(translated, seen, link_of(*sent)), word_at(*sent, 18),
                                     word_at(*sent, 20)));
            const std::uint32_t header =
                has_header ? static_cast<std::uint32_t>(proxy_header(identity, client).size()) : 0;
            const auto got = send(0, segment_frame(turned(translated), {5'001, 1'000 + header}), Tick{102});
            ASSERT_TRUE(got);
            EXPECT_EQ(*got, segment_frame(turned(client), {5'001, 1'000}, link_of(*got)));
        }
        world_.reset();
    }
}

TEST_F(Nat64Test, replies_come_to_their_owner_by_rss_and_by_ring) {
    constexpr std::uint32_t kFlows = 500;
    for (const unsigned workers : {2u, 4u, 8u, 16u}) {
        start(nat64_config(), workers);
        for (std::uint32_t number = 1; number <= kFlows; ++number) {
            const Tuple client = flow(number, true);
            const Bytes syn = tcp_frame(client, kSyn);
            const auto there = send(queue_of(syn), syn, Tick{100});
            ASSERT_TRUE(there);
            const Bytes reply = tcp_frame(turned(tuple_of(*there)), kSyn | kAck);
            const std::uint64_t travelled = sum(&WorkerCounters::replies_handed_over);
            const auto back = send(queue_of(reply), reply, Tick{101});
            ASSERT_TRUE(back);
            EXPECT_EQ(sum(&WorkerCounters::replies_handed_over), travelled);
            EXPECT_EQ(*back, tcp_frame(turned(client), kSyn | kAck, 0, {.to = kIn.from, .from = kIn.to}));
            EXPECT_EQ(send(number % workers, reply, Tick{102}), back);
        }
        EXPECT_EQ(drops(DropReason::unsolicited), 0u);
        world_.reset();
    }
}

// Two services, one of each family, on one pool: sessions of both towards one backend share its SNAT ports.
TEST_F(Nat64Test, both_families_share_a_pool_and_no_tuple) {
    Config config = nat64_config();
    config.ports[0].snat.ports = {40'000, 40'063};
    config.services.push_back(service("web", "203.0.113.10", "web", ForwardingMode::nat));
    start(config);
    std::set<std::pair<IpAddress, std::uint16_t>> used;
    for (std::uint32_t number = 1; number <= 60; ++number)
        for (const bool v6 : {false, true}) {
            const auto there = send(0, tcp_frame(flow(number, v6), kSyn), Tick{100 + number});
            if (!there) continue;
            const Tuple translated = tuple_of(*there);
            EXPECT_TRUE(used.emplace(translated.destination, translated.source_port).second);
            const auto back = send(0, tcp_frame(turned(translated), kSyn | kAck), Tick{100 + number});
            ASSERT_TRUE(back);
            EXPECT_EQ(tuple_of(*back).destination, flow(number, v6).source);
        }
    EXPECT_EQ(used.size() + drops(DropReason::no_snat_port), 120u);
    EXPECT_GT(used.size(), 100u);
}

}  // namespace
}  // namespace weir::test
