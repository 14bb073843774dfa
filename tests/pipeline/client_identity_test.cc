// PROXY headers in front of streams: one conversation after the other, each segment as it leaves to either
// side. The numbers: `first` is the client's first byte, n the header's length.
#include "tests/pipeline/identity_segments.h"

namespace weir::test {
namespace {

constexpr std::uint32_t kServers = 77'000;
// First bytes: the header or the data behind it cross 2^31 and 2^32.
constexpr std::uint32_t kFirsts[] = {1'000, 0x7fff'ffff, 0x7fff'fff0, 0x8000'0000, 0xffff'ffff, 0xffff'fff0,
                                     0};

class ProxyTest : public IdentityTest {
  protected:
    // Calls talk(first, n) for both versions, both families and each first byte.
    template <class Talk>
    void each(Talk&& talk) {
        for (const auto identity : {ClientIdentity::proxy_v1, ClientIdentity::proxy_v2}) {
            start(identity);
            for (const bool v6 : {false, true})
                for (const std::uint32_t first : kFirsts) {
                    SCOPED_TRACE(::testing::Message() << "identity " << static_cast<int>(identity) << " v6 "
                                                      << v6 << " first " << first);
                    next_client(v6);
                    talk(first, length());
                }
        }
    }
    // Client and backend agree about everything up to `first`.
    void establish(std::uint32_t first) {
        shake_hands(first, kServers);
        const Segment ack{.sequence = first, .acknowledgement = kServers};
        EXPECT_EQ(to_backend(ack), (Segment{first, kServers, kAck, header()}));
        const Segment got{.sequence = kServers, .acknowledgement = first + length()};
        EXPECT_EQ(to_client(got).acknowledgement, first);
    }
};

TEST_F(ProxyTest, a_server_that_speaks_first_knows_to_whom) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        const Segment ack{.sequence = first, .acknowledgement = kServers};
        EXPECT_EQ(to_backend(ack), (Segment{first, kServers, kAck, header()}));
        const Segment greeting{kServers, first + n, kAck, payload(20)};
        EXPECT_EQ(to_client(greeting), (Segment{kServers, first, kAck, payload(20)}));
        const Segment thanks{.sequence = first, .acknowledgement = kServers + 20};
        EXPECT_EQ(to_backend(thanks), (Segment{first + n, kServers + 20}))
            << "it has arrived: nothing more is sent";
    });
}

TEST_F(ProxyTest, every_length_of_payload_is_exact_to_the_byte) {
    each([&](std::uint32_t first, std::uint32_t n) {
        for (const std::size_t length : {1u, 2u, 3u, 100u, 1'001u, 1'300u}) {
            next_client(!client_.source.is_v4());
            n = this->length();
            shake_hands(first, kServers);
            EXPECT_EQ(to_backend({first, kServers, kAck, payload(length)}),
                      (Segment{first, kServers, kAck, joined(header(), payload(length))}));
            EXPECT_EQ(to_client({.sequence = kServers, .acknowledgement = first + n + 1}).acknowledgement,
                      first + 1);
            const auto next = static_cast<std::uint32_t>(first + length);
            EXPECT_EQ(to_backend({next, kServers, kAck, payload(length)}),
                      (Segment{next + n, kServers, kAck, payload(length)}));
        }
    });
}

TEST_F(ProxyTest, it_is_sent_again_until_it_has_arrived) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        const Segment data{first, kServers, kAck, payload(200)};
        const Segment with_header{first, kServers, kAck, joined(header(), payload(200))};
        EXPECT_EQ(to_backend({first, kServers}).data, header()) << "lost";
        EXPECT_EQ(to_backend({first + 200, kServers, kAck, payload(50)}),
                  (Segment{first + 200 + n, kServers, kAck, payload(50)}))
            << "overtakes it";
        EXPECT_EQ(to_backend(data), with_header);
        EXPECT_EQ(to_backend(data), with_header) << "repeated";
        const Segment nothing{.sequence = kServers, .acknowledgement = first};
        EXPECT_EQ(to_client(nothing), nothing);
        EXPECT_EQ(to_backend(data), with_header);
        EXPECT_EQ(to_client({.sequence = kServers, .acknowledgement = first + n + 200}),
                  (Segment{.sequence = kServers, .acknowledgement = first + 200}));
        EXPECT_EQ(to_backend(data), (Segment{first + n, kServers, kAck, payload(200)})) << "behind it now";
    });
}

TEST_F(ProxyTest, an_acknowledgement_within_the_header_is_of_no_byte_of_the_clients) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        (void)to_backend({first, kServers, kAck, payload(10)});
        for (std::uint32_t got = 0; got < n; ++got)
            EXPECT_EQ(to_client({kServers, first + got}).acknowledgement, first);
        EXPECT_EQ(to_backend({first, kServers, kAck, payload(10)}).data, joined(header(), payload(10)));
        for (std::uint32_t got = 0; got <= 10; ++got)
            EXPECT_EQ(to_client({kServers, first + n + got}).acknowledgement, first + got);
    });
}

Bytes sack(std::initializer_list<std::uint32_t> edges) {
    Bytes option{1, 1, 5, static_cast<std::uint8_t>(2 + 4 * edges.size())};
    for (const std::uint32_t edge : edges) append_long(option, edge);
    return option;
}

TEST_F(ProxyTest, sack_blocks_are_the_clients_bytes) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        (void)to_backend({first, kServers, kAck, payload(10)});
        const auto seen = [&](std::uint32_t got, const Bytes& options) {
            return to_client({kServers, first + got, kAck, {}, options}).options;
        };
        // Data have come, the header has not; then a part of it; then D-SACKs of header and data (RFC 2883).
        EXPECT_EQ(seen(0, sack({first + n + 100, first + n + 200})), sack({first + 100, first + 200}));
        EXPECT_EQ(seen(0, sack({first + 5, first + n + 7, first + n + 100, first + n + 200})),
                  sack({first, first + 7, first + 100, first + 200}));
        EXPECT_EQ(seen(n + 10, sack({first, first + n + 10})), sack({first, first + 10}));
        EXPECT_EQ(seen(n + 10, sack({first + n, first + n + 10})), sack({first, first + 10}));
        EXPECT_EQ(seen(n + 10, sack({first + n, first + n + 5, first + n + 50, first + n + 60, first + n + 90,
                                     first + n + 95})),
                  sack({first, first + 5, first + 50, first + 60, first + 90, first + 95}));
        // At an odd place, behind a timestamp.
        Bytes odd{1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 5, 10};
        Bytes expected = odd;
        append_long(odd, first + n + 20), append_long(odd, first + n + 30), odd.push_back(0);
        append_long(expected, first + 20), append_long(expected, first + 30), expected.push_back(0);
        odd.resize(24), expected.resize(24);
        EXPECT_EQ(seen(n + 10, odd), expected);
        // The header is lost before it gets to weir, the data behind it are not.
        next_client(!client_.source.is_v4());
        n = length();
        shake_hands(first, kServers);
        (void)to_backend({first + 100, kServers, kAck, payload(10)});
        EXPECT_EQ(seen(0, sack({first + n + 100, first + n + 110})), sack({first + 100, first + 110}));
        // The client's own blocks are of the backend's bytes.
        const Bytes own = sack({kServers + 100, kServers + 200});
        EXPECT_EQ(to_backend({first + 10, kServers, kAck, {}, own}).options, own);
    });
}

TEST_F(ProxyTest, broken_options_of_a_reply_stay_as_they_are) {
    each([&](std::uint32_t first, std::uint32_t) {
        establish(first);
        for (const Bytes& options : {Bytes{5, 0, 1, 2}, Bytes{5, 1, 1, 2}, Bytes{5, 11, 1, 2, 3, 4, 5, 6},
                                     Bytes{1, 1, 1, 5}, Bytes{0, 5, 10, 0}, Bytes{5, 4, 1, 2}})
            EXPECT_EQ(to_client({kServers, first + length(), kAck, {}, options}).options, options);
    });
}

TEST_F(ProxyTest, data_of_a_syn_stand_behind_it) {
    each([&](std::uint32_t first, std::uint32_t n) {
        for (const bool taken : {true, false}) {
            next_client(!client_.source.is_v4());
            n = length();
            EXPECT_EQ(to_backend({first - 1, 0, kSyn, payload(33)}),
                      (Segment{first - 1, 0, kSyn, joined(header(), payload(33))}));
            const std::uint32_t got = taken ? n + 33 : 0;
            EXPECT_EQ(to_client({kServers - 1, first + got, kSyn | kAck}).acknowledgement,
                      taken ? first + 33 : first);
            const Segment next{first + (taken ? 33u : 0u), kServers, kAck, payload(33)};
            EXPECT_EQ(to_backend(next),
                      taken ? (Segment{first + n + 33, kServers, kAck, payload(33)})
                            : (Segment{first, kServers, kAck, joined(header(), payload(33))}));
            EXPECT_EQ(to_backend({first - 1, 0, kSyn, payload(33)}).data, joined(header(), payload(33)))
                << "again, late";
        }
    });
}

TEST_F(ProxyTest, a_client_that_only_says_goodbye_is_named_too) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        EXPECT_EQ(to_backend({first, kServers, kFin | kAck}),
                  (Segment{first, kServers, kFin | kAck, header()}));
        EXPECT_EQ(to_client({kServers, first + n + 1, kFin | kAck}).acknowledgement, first + 1);
        EXPECT_EQ(to_backend({first + 1, kServers + 1}), (Segment{first + n + 1, kServers + 1}));
    });
}

TEST_F(ProxyTest, keepalives_stay_old) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        const Segment probe{first - 1, kServers, kAck, Bytes{0}};
        EXPECT_EQ(to_backend(probe), probe) << "the backend is at first, or at first + n: it answers";
        (void)to_backend({first, kServers});
        (void)to_client({kServers, first + n});
        EXPECT_EQ(to_backend(probe), (Segment{first - 1 + n, kServers, kAck, Bytes{0}}));
    });
}

TEST_F(ProxyTest, sequence_spaces_wrap_as_they_like) {
    each([&](std::uint32_t first, std::uint32_t n) {
        establish(first);
        for (std::uint64_t at = 0; at < (9ull << 30); at += 0x1234'5677) {
            const auto number = static_cast<std::uint32_t>(first + at);
            EXPECT_EQ(to_backend({number, kServers, kAck, payload(9)}),
                      (Segment{number + n, kServers, kAck, payload(9)}));
            EXPECT_EQ(to_client({kServers, number + n + 9}).acknowledgement, number + 9);
        }
        for (const std::uint32_t around : {first - 1, first, first + 1, first + n, first + (1u << 31)})
            EXPECT_EQ(to_backend({around, kServers}).sequence, around + n);
    });
}

TEST_F(ProxyTest, a_syn_of_another_number_begins_anew) {
    each([&](std::uint32_t first, std::uint32_t n) {
        // Nobody has answered yet.
        (void)to_backend({first - 1, 0, kSyn});
        (void)to_backend({first + 5'000'000 - 1, 0, kSyn});
        EXPECT_EQ(to_backend({first + 5'000'000, kServers}).data, header());
        (void)to_client({kServers - 1, first + 5'000'000, kSyn | kAck});
        EXPECT_EQ(to_client({kServers, first + 5'000'000 + n}).acknowledgement, first + 5'000'000);
        // In the midst of a connection it is none, or a forged one.
        EXPECT_EQ(to_backend({first + 90'000'000, 0, kSyn}).sequence, first + 90'000'000);
        EXPECT_EQ(to_backend({first + 5'000'007, kServers}).sequence, first + 5'000'007 + n);
        // Behind its end it is another connection.
        (void)to_backend({first + 5'000'007, kServers, kRst});
        shake_hands(first + 7'000'000, kServers);
        EXPECT_EQ(to_backend({first + 7'000'000, kServers, kAck, payload(1)}).data,
                  joined(header(), payload(1)));
        EXPECT_EQ(to_client({kServers, first + 7'000'000 + n + 1}).acknowledgement, first + 7'000'001);
    });
}

TEST_F(ProxyTest, resets_hit_where_the_other_has_got_to) {
    each([&](std::uint32_t first, std::uint32_t n) {
        // The client knows of no connection: no header has gone out.
        (void)to_backend({first - 1, 0, kSyn});
        EXPECT_EQ(to_client({kServers - 1, first, kSyn | kAck}).acknowledgement, first);
        EXPECT_EQ(to_backend({first, 0, kRst}), (Segment{first, 0, kRst}));
        // It gives up right behind the handshake: the backend has the header.
        next_client(!client_.source.is_v4());
        n = length();
        shake_hands(first, kServers);
        (void)to_backend({first, kServers});
        EXPECT_EQ(to_backend({first, kServers, kRst | kAck}), (Segment{first + n, kServers, kRst | kAck}));
        // The backend's: one that acknowledges what it refuses, and one without ACK.
        next_client(!client_.source.is_v4());
        n = length();
        establish(first);
        EXPECT_EQ(to_client({kServers, first + n + 10, kRst | kAck}),
                  (Segment{kServers, first + 10, kRst | kAck}));
        EXPECT_EQ(to_client({kServers, 12'345, kRst}), (Segment{kServers, 12'345, kRst}));
        EXPECT_EQ(to_backend({first + 10, kServers, kRst}).sequence, first + 10 + n);
        // A closed port: RST to a SYN, and to one with data, which are no arrival.
        next_client(!client_.source.is_v4());
        n = length();
        (void)to_backend({first - 1, 0, kSyn, payload(5)});
        EXPECT_EQ(to_client({0, first + n + 5, kRst | kAck}).acknowledgement, first + 5);
        EXPECT_EQ(to_backend({first, kServers, kAck, payload(5)}).data, joined(header(), payload(5)));
    });
}

// The world with every record of every backend cut (stages/cut.h).
ForwardingSnapshot all_cut(const ForwardingSnapshot& world) {
    ForwardingSnapshot after = world;
    for (BackendView& view : after.backends) {
        auto chunks = view.chunks();
        for (auto& chunk : chunks) {
            auto changed = std::make_shared<BackendChunk>(*chunk);
            for (BackendRecord& record : *changed) {
                if (record.state != TrafficState::serving) continue;
                record.cut_pool = std::exchange(record.pool, kNoPool);
                record.state = TrafficState::cut;
            }
            chunk = std::move(changed);
        }
        view = BackendView(std::move(chunks));
    }
    return after;
}

TEST_F(ProxyTest, the_resets_of_a_cut_flow_hit_too) {
    each([&](std::uint32_t first, std::uint32_t n) {
        establish(first);
        const ForwardingSnapshot cut = all_cut(world_->worker().world());
        world_->worker().use(cut);
        rte_mbuf* packet = frames_.frame(segment_frame(client_, {first + 10, kServers, kAck, payload(30)}));
        world_->worker().run({&packet, 1}, now_);
        world_->latch_all();
        std::vector<Segment> sent;
        for (const Bytes& frame : world_->worker().take()) {
            const bool to_client = tuple_of(frame).destination == client_.source;
            sent.push_back(to_client ? segment_in(frame) : *judge(frame, *server_));
            EXPECT_EQ(sent.back().sequence, to_client ? kServers : first + 10 + n);
            EXPECT_EQ(sent.back().flags & kRst, kRst);
        }
        EXPECT_EQ(sent.size(), 2u);
    });
}

// A backend that still has the client's last connection says so, with numbers of that one (RFC 5961 4).
TEST_F(ProxyTest, a_challenge_from_an_older_connection_is_no_arrival) {
    each([&](std::uint32_t first, std::uint32_t) {
        (void)to_backend({first - 1, 0, kSyn});
        const Segment challenge{kServers, first + 1'000'000};
        EXPECT_EQ(to_client(challenge), challenge);
        const Segment reset{first + 1'000'000, 0, kRst};
        EXPECT_EQ(to_backend(reset), reset) << "exactly what the backend waits for";
        shake_hands(first, kServers);
        EXPECT_EQ(to_backend({first, kServers}).data, header());
    });
}

TEST_F(ProxyTest, a_reload_changes_new_connections_alone) {
    start(ClientIdentity::proxy_v1);
    next_client(false);
    const std::uint32_t n = length(), first = 5'000;
    shake_hands(first, kServers);
    world_->reload(identity_config(ClientIdentity::none));
    EXPECT_EQ(to_backend({first, kServers}).data, header());
    EXPECT_EQ(to_client({kServers, first + n}).acknowledgement, first);
    world_->reload(identity_config(ClientIdentity::proxy_v2));
    EXPECT_EQ(to_backend({first, kServers, kAck, payload(3)}),
              (Segment{first + n, kServers, kAck, payload(3)}));
    // The same ports again, behind the connection's end: by the pool's present rule.
    (void)to_client({kServers, 0, kRst});
    identity_ = ClientIdentity::proxy_v2;
    shake_hands(first, kServers);
    EXPECT_EQ(to_backend({first, kServers}).data, header());
    world_->reload(identity_config(ClientIdentity::none));
    next_client(false);
    shake_hands(first, kServers);
    EXPECT_EQ(to_backend({first, kServers, kAck, payload(3)}), (Segment{first, kServers, kAck, payload(3)}));
    EXPECT_EQ(counted(&WorkerCounters::identities_sent), 2u);
}

TEST_F(ProxyTest, the_urgent_pointer_counts_from_the_header) {
    each([&](std::uint32_t first, std::uint32_t n) {
        shake_hands(first, kServers);
        EXPECT_EQ(to_backend({first, kServers, kAck | kUrg, payload(9), {}, 5}),
                  (Segment{first,
                           kServers,
                           kAck | kUrg,
                           joined(header(), payload(9)),
                           {},
                           static_cast<std::uint16_t>(5 + n)}));
    });
}

}  // namespace
}  // namespace weir::test
