// Client identity beside streams: the MSS that clients are told, packets that have no room, chains, padding
// and wrong checksums, datagrams, and toa options.
#include "tests/pipeline/identity_segments.h"

namespace weir::test {
namespace {

constexpr std::uint32_t kServers = 77'000, kFirst = 5'000;
constexpr ClientIdentity kOfStreams[] = {ClientIdentity::proxy_v1, ClientIdentity::proxy_v2,
                                         ClientIdentity::toa};

class IdentityLimitsTest : public IdentityTest {
  protected:
    // What the identity adds to a packet.
    [[nodiscard]] std::size_t added() const {
        return identity_ == ClientIdentity::toa ? toa_option(client_).size() : header().size();
    }
    // The first data as they leave.
    [[nodiscard]] Segment named(const Bytes& data, const Bytes& options = {}) const {
        if (identity_ == ClientIdentity::toa)
            return {kFirst, kServers, kAck, data, joined(toa_option(client_), options)};
        return {kFirst, kServers, kAck, joined(header(), data), options};
    }
    std::optional<Segment> forward_frame(const Bytes& frame) { return forward(frames_.frame(frame)); }
};

Bytes mss(unsigned value) {
    return {2, 4, static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)};
}

TEST_F(IdentityLimitsTest, clients_are_told_of_an_mss_that_leaves_room) {
    for (const auto identity : kOfStreams) {
        start(identity);
        for (const bool v6 : {false, true}) {
            next_client(v6);
            const Bytes timestamp{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
            const Segment syn{kFirst - 1, 0, kSyn, {}, joined(mss(1'460), timestamp)};
            EXPECT_EQ(to_backend(syn), syn) << "what the client says is of the other direction";
            const auto told = [&](const Bytes& options, std::uint8_t flags = kSyn | kAck) {
                return to_client({kServers - 1, kFirst, flags, {}, options}).options;
            };
            const auto lower = static_cast<unsigned>(1'460 - added());
            EXPECT_EQ(told(mss(1'460)), mss(lower));
            EXPECT_EQ(told(joined(mss(1'460), timestamp)), joined(mss(lower), timestamp));
            EXPECT_EQ(told(joined(timestamp, mss(1'460))), joined(timestamp, mss(lower)));
            Bytes odd{1, 2, 4, 1'460 >> 8, 1'460 & 0xff, 1, 1, 0}, expected = odd;
            expected[3] = static_cast<std::uint8_t>(lower >> 8),
            expected[4] = static_cast<std::uint8_t>(lower);
            EXPECT_EQ(told(odd), expected);
            for (const Bytes& other : {mss(256), mss(100), mss(0), timestamp, Bytes{2, 5, 5, 180, 0, 0, 0, 0},
                                       Bytes{2, 0, 5, 180}})
                EXPECT_EQ(told(other), other);
            EXPECT_EQ(told(mss(1'460), kAck), mss(1'460)) << "nothing but a SYN-ACK tells of it";
            // A full segment of that MSS fits, one more byte does not.
            const std::size_t full = 1'500 - (v6 ? 60u : 40u) - added();
            EXPECT_EQ(to_backend({kFirst, kServers, kAck, payload(full)}), named(payload(full)));
        }
    }
}

TEST_F(IdentityLimitsTest, what_does_not_fit_is_dropped_and_without_a_toa_option_it_goes) {
    for (const auto identity : kOfStreams)
        for (const bool v6 : {false, true}) {
            start(identity);
            next_client(v6);
            shake_hands(kFirst);
            const Segment large{kFirst, kServers, kAck, payload(1'500 - (v6 ? 60u : 40u) - added() + 1)};
            const Segment small{kFirst, kServers, kAck, payload(100)};
            const auto without_headroom = [&](const Segment& segment) {
                rte_mbuf* packet = frames_.frame(segment_frame(client_, segment));
                auto* place = static_cast<std::uint8_t*>(packet->buf_addr) + added() - 1;
                std::memmove(place, rte_pktmbuf_mtod(packet, const std::uint8_t*), packet->data_len);
                packet->data_off = static_cast<std::uint16_t>(added() - 1);
                return forward(packet);
            };
            if (identity == ClientIdentity::toa) {
                EXPECT_EQ(forward(large), large);
                EXPECT_EQ(without_headroom(small), small);
                EXPECT_EQ(counted(&WorkerCounters::toa_left_out), 2u);
                EXPECT_EQ(counted(&WorkerCounters::identities_sent), 0u);
                continue;
            }
            EXPECT_FALSE(forward(large));
            EXPECT_EQ(drops(DropReason::too_big), 1u);
            EXPECT_FALSE(without_headroom(small));
            EXPECT_EQ(drops(DropReason::no_headroom), 1u);
            EXPECT_EQ(to_backend(small), named(payload(100)));
        }
}

TEST_F(IdentityLimitsTest, tags_of_the_port_keep_their_headroom) {
    std::vector<PortFacts> facts = edge_facts();
    facts[0].vlan = VlanTags{.outer = 7};
    for (const auto identity : {ClientIdentity::proxy_v2, ClientIdentity::proxy_v1}) {
        start(identity, facts);
        next_client(false);
        (void)world_->worker().take();
        for (const std::size_t spare : {std::size_t{0}, std::size_t{3}, std::size_t{4}}) {
            const Bytes syn = segment_frame(client_, {kFirst - 1, 0, kSyn, payload(7)});
            rte_mbuf* packet = frames_.frame(syn);
            auto* place = static_cast<std::uint8_t*>(packet->buf_addr) + added() + spare;
            std::memmove(place, rte_pktmbuf_mtod(packet, const std::uint8_t*), packet->data_len);
            packet->data_off = static_cast<std::uint16_t>(added() + spare);
            const auto sent = run(packet);
            EXPECT_EQ(sent.has_value(), spare == 4) << spare;
            if (sent) {
                EXPECT_EQ(sent->size(), syn.size() + added() + 4);
            }
        }
        EXPECT_EQ(drops(DropReason::no_headroom), 2u);
    }
}

TEST_F(IdentityLimitsTest, chains_padding_and_wrong_checksums) {
    for (const auto identity : kOfStreams) {
        start(identity);
        for (const bool v6 : {false, true})
            for (const std::size_t length : {0u, 1u, 5u, 900u}) {
                next_client(v6);
                shake_hands(kFirst);
                const Bytes frame = segment_frame(client_, {kFirst, kServers, kAck, payload(length)});
                const Segment expected = named(payload(length));
                const std::size_t data = frame.size() - length;
                EXPECT_EQ(forward(frames_.frame(frame)), expected);
                const std::vector<std::size_t> cuts =
                    length == 900 ? std::vector{data, data + 1, data + 450, data + 899}
                                  : std::vector<std::size_t>{};
                for (const std::size_t cut : cuts) EXPECT_EQ(forward(frames_.chain(frame, {cut})), expected);
                Bytes padded = frame;
                padded.resize(frame.size() + 23, 0xa5);
                const auto trimmed = forward(frames_.frame(padded));
                ASSERT_TRUE(trimmed);
                EXPECT_EQ(*trimmed, expected) << "padding does not become data";
                // Wrong by one bit, and still wrong: by one bit too.
                Bytes wrong = frame;
                wrong[l4_of(wrong) + 17] ^= 1;
                const auto sent = run(frames_.frame(wrong));
                ASSERT_TRUE(sent);
                const Bytes right = segment_frame(*server_, expected, link_of(*sent));
                EXPECT_NE(*sent, right);
                Bytes same = *sent;
                put_word(same, l4_of(same) + 16, word_at(right, l4_of(right) + 16));
                EXPECT_EQ(same, right) << "nothing else differs";
            }
    }
}

// A reply whose options lie in another buffer cannot be told apart from a lie.
TEST_F(IdentityLimitsTest, headers_that_are_split_are_dropped) {
    start(ClientIdentity::proxy_v2);
    next_client(false);
    shake_hands(kFirst);
    const Bytes options{1, 1, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2};
    const Bytes request = segment_frame(client_, {kFirst, kServers, kAck, payload(50), options});
    EXPECT_FALSE(run(frames_.chain(request, {34 + 26})));
    const Bytes reply = segment_frame(turned(*server_), {kServers, kFirst, kAck, payload(50), options});
    EXPECT_FALSE(run(frames_.chain(reply, {34 + 26})));
    EXPECT_EQ(drops(DropReason::segmented), 2u);
    EXPECT_TRUE(run(frames_.chain(reply, {34 + 32})));
}

TEST_F(IdentityLimitsTest, each_datagram_has_a_header_of_its_own) {
    start(ClientIdentity::proxy_v2);
    for (const bool v6 : {false, true})
        for (const std::size_t length : {0u, 1u, 2u, 777u, 1'400u})
            for (const bool with_checksum : {true, false}) {
                if (v6 && !with_checksum) continue;
                next_client(v6);
                const Bytes data = joined(proxy_header(identity_, client_, true), payload(length));
                for (int n = 0; n < 2; ++n) {
                    const auto sent = run(frames_.frame(udp_frame(client_, length, with_checksum)));
                    ASSERT_TRUE(sent);
                    server_ = tuple_of(*sent);
                    Bytes message;
                    append_word(message, server_->source_port);
                    append_word(message, server_->destination_port);
                    append_word(message, 8 + data.size());
                    append_word(message, 0);
                    append(message, data);
                    EXPECT_EQ(*sent,
                              ip_frame(link_of(*sent), server_->source, server_->destination, 17, message,
                                       with_checksum ? std::optional<std::size_t>(6) : std::nullopt));
                }
                const auto back = run(frames_.frame(udp_frame(turned(*server_), length, with_checksum)));
                ASSERT_TRUE(back);
                EXPECT_EQ(*back, udp_frame(turned(client_), length, with_checksum, link_of(*back)));
            }
    next_client(false);
    EXPECT_FALSE(run(frames_.frame(udp_frame(client_, 1'500 - 28 - 28 + 1))));
    EXPECT_EQ(drops(DropReason::too_big), 1u);
    EXPECT_TRUE(run(frames_.frame(udp_frame(client_, 1'500 - 28 - 28))));
}

TEST_F(IdentityLimitsTest, toa_goes_along_until_data_have_arrived) {
    start(ClientIdentity::toa);
    for (const bool v6 : {false, true})
        for (const std::uint32_t first : {5'000u, 0x7fff'ffffu, 0xffff'fff0u, 0u}) {
            next_client(v6);
            const Bytes option = toa_option(client_), timestamp{1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2};
            shake_hands(first);
            EXPECT_EQ(to_backend({first, kServers}), (Segment{first, kServers, kAck, {}, option}));
            EXPECT_EQ(to_client({kServers, first, kAck, payload(5)}),
                      (Segment{kServers, first, kAck, payload(5)}));
            EXPECT_EQ(to_backend({first, kServers, kAck, payload(77), timestamp}),
                      (Segment{first, kServers, kAck, payload(77), joined(option, timestamp)}));
            const Segment later{first + 77, kServers, kAck, payload(5)};
            EXPECT_EQ(to_backend(later), later);
            EXPECT_EQ(to_backend({first, kServers, kFin | kAck}).options, option);
            const Segment got{kServers, first + 77};
            EXPECT_EQ(to_client(got), got);
            const Segment again{first, kServers, kAck, payload(77)};
            EXPECT_EQ(to_backend(again), again);
            const Segment reset{first + 77, kServers, kRst};
            EXPECT_EQ(to_backend(reset), reset);
        }
}

TEST_F(IdentityLimitsTest, toa_without_room_among_the_options_is_left_out) {
    start(ClientIdentity::toa);
    for (const bool v6 : {false, true}) {
        next_client(v6);
        shake_hands(kFirst);
        const std::size_t room = 40 - toa_option(client_).size();
        for (std::size_t have = 0; have <= 40; have += 4) {
            Bytes options(have, 1);
            const Segment seen = to_backend({kFirst, kServers, kAck, payload(3), options});
            EXPECT_EQ(seen.options, have <= room ? joined(toa_option(client_), options) : options) << have;
            EXPECT_EQ(seen.data, payload(3));
        }
    }
    EXPECT_EQ(counted(&WorkerCounters::toa_left_out), 2u + 5u);
}

TEST_F(IdentityLimitsTest, nobody_can_say_that_he_is_somebody_else) {
    start(ClientIdentity::toa);
    next_client(false);
    const Bytes forged{254, 8, 0x12, 0x34, 1, 2, 3, 4}, nothing(8, 1);
    EXPECT_EQ(to_backend({kFirst - 1, 0, kSyn, {}, joined(mss(1'460), forged)}).options,
              joined(mss(1'460), nothing));
    (void)to_client({kServers - 1, kFirst, kSyn | kAck});
    EXPECT_EQ(to_backend({kFirst, kServers, kAck, payload(9), forged}).options,
              joined(toa_option(client_), nothing));
    EXPECT_EQ(to_backend({kFirst + 9, kServers, kAck, payload(9), forged}).options, nothing);
    EXPECT_EQ(to_backend({kFirst + 9, kServers, kRst, {}, forged}).options, nothing);
    const Bytes twice{1, 254, 3, 9, 254, 4, 1, 1, 254, 2, 0, 0}, gone{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0};
    EXPECT_EQ(to_backend({kFirst + 9, kServers, kAck, {}, twice}).options, gone);
    Bytes longest(40, 7);
    longest[0] = 254, longest[1] = 40;
    EXPECT_EQ(to_backend({kFirst + 9, kServers, kAck, {}, longest}).options, Bytes(40, 1));
    EXPECT_EQ(counted(&WorkerCounters::toa_removed), 6u);
    // Where a reader stops, nothing behind is an option: lengths 0 and 1, beyond the end, none, the list's
    // end.
    for (const Bytes& broken :
         {Bytes{254, 0, 0, 0}, Bytes{254, 1, 0, 0}, Bytes{254, 9, 0, 0, 0, 0, 0, 0}, Bytes{1, 1, 1, 254},
          Bytes{0, 254, 2, 0}, Bytes{3, 0, 254, 2}, Bytes{3, 9, 254, 2}})
        EXPECT_EQ(to_backend({kFirst + 9, kServers, kAck, {}, broken}).options, broken);
    EXPECT_EQ(counted(&WorkerCounters::toa_removed), 6u);
    // The backend may send what it likes, and other pools' clients too.
    EXPECT_EQ(to_client({kServers, kFirst, kAck, {}, forged}).options, forged);
    start(ClientIdentity::none);
    next_client(false);
    shake_hands(kFirst);
    EXPECT_EQ(to_backend({kFirst, kServers, kAck, {}, forged}).options, forged);
}

TEST_F(IdentityLimitsTest, random_options_are_read_safely) {
    start(ClientIdentity::toa);
    next_client(false);
    shake_hands(kFirst);
    std::uint32_t state = 1;
    const auto random = [&state] { return state = state * 1'664'525 + 1'013'904'223, state >> 16; };
    constexpr std::uint8_t kLikely[] = {254, 254, 1, 0, 2, 5, 8, 10, 20, 3, 40, 255};
    for (int n = 0; n < 20'000; ++n) {
        Bytes options(4 * (random() % 11));
        for (std::uint8_t& byte : options) byte = kLikely[random() % std::size(kLikely)];
        const Segment seen = to_backend({kFirst + 1, kServers, kAck, payload(random() % 3), options});
        ASSERT_EQ(seen.options.size(), options.size());
        // By hand: the options up to the first that is none.
        for (std::size_t at = 0; at < options.size();) {
            if (options[at] == 0) break;
            const std::size_t length = options[at] == 1 ? 1 : at + 1 < options.size() ? options[at + 1] : 0;
            if (length == 0 || (length < 2 && options[at] != 1) || at + length > options.size()) break;
            if (options[at] == 254) std::fill_n(options.begin() + static_cast<std::ptrdiff_t>(at), length, 1);
            at += length;
        }
        ASSERT_EQ(seen.options, options);
    }
}

}  // namespace
}  // namespace weir::test
