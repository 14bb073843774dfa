// Random conversations of a small client and a small server over a network that loses, repeats and reorders:
// whatever comes out, the server's stream is the PROXY header and the client's bytes, and the client is told
// of its own bytes only.
#include <random>

#include "tests/dataplane/figure.h"
#include "tests/pipeline/identity_segments.h"
#include "tests/support/sanitized.h"

namespace weir::test {
namespace {

struct Random {
    std::mt19937 engine;
    std::uint32_t operator()() { return static_cast<std::uint32_t>(engine()); }
};

bool happens(Random& random, unsigned percent) { return random() % 100 < percent; }

// Which bytes of a stream have come, by their offsets.
class Received {
  public:
    [[nodiscard]] bool has(std::uint32_t at) const { return at < have_.size() && have_[at]; }
    void add(std::uint32_t at) {
        if (at >= have_.size()) have_.resize(at + 1);
        have_[at] = true;
        while (has(in_order_)) ++in_order_;
    }
    [[nodiscard]] std::uint32_t in_order() const { return in_order_; }
    [[nodiscard]] std::uint32_t end() const { return static_cast<std::uint32_t>(have_.size()); }

  private:
    std::vector<bool> have_;
    std::uint32_t in_order_ = 0;
};

// What the server has to know at the end: `expected`, then FIN. It checks every byte when it comes.
struct Server {
    Bytes expected;
    std::uint32_t first = 0;  // sequence number of the stream's first byte, from the client's SYN
    bool listens = true, established = false, takes_syn_data = false;
    std::uint32_t sequence = 0;  // of its own SYN
    Received got;
    std::optional<std::pair<std::uint32_t, std::uint32_t>> doubled;  // for a D-SACK (RFC 2883)

    [[nodiscard]] std::uint32_t end() const { return static_cast<std::uint32_t>(expected.size()) + 1; }
    // `most`: as much as it has room for.
    void receive(const Segment& segment, std::uint32_t most) {
        if ((segment.flags & kSyn) != 0) {
            if (listens) first = segment.sequence + 1;
            EXPECT_EQ(segment.sequence + 1, first) << "a SYN is not shifted";
            listens = false;
            if (!takes_syn_data) return;
        } else if (listens) {
            return;
        } else {
            established = true;
        }
        const std::uint32_t start = (segment.flags & kSyn) != 0 ? 0 : segment.sequence - first;
        const bool fin = (segment.flags & kFin) != 0;
        const auto length = static_cast<std::uint32_t>(segment.data.size());
        bool all_old = length > 0;
        for (std::uint32_t n = 0; n < length + (fin ? 1 : 0) && n < most; ++n) {
            const std::uint32_t at = start + n;
            if (at + 1 == 0) continue;  // the byte of a keepalive, in front of the stream
            if (n < length) {
                ASSERT_LT(at, expected.size()) << "more than there is";
                ASSERT_EQ(segment.data[n], expected[at]) << "at " << at;
            } else {
                ASSERT_EQ(at, expected.size()) << "FIN behind everything";
            }
            all_old &= got.has(at);
            got.add(at);
        }
        if (all_old && most >= length) doubled = {{start, start + length}};
    }
    [[nodiscard]] Segment answer(Random& random, bool is_syn) {
        const std::uint32_t in_order = got.in_order();
        Segment segment{sequence, first + in_order, kSyn | kAck};
        if (is_syn) return segment;
        segment.flags = kAck;
        segment.sequence = sequence + 1;
        if (happens(random, 30)) segment.data = payload(1 + random() % 50);
        std::vector<std::pair<std::uint32_t, std::uint32_t>> blocks;
        if (doubled) blocks.push_back(*doubled);
        doubled.reset();
        for (std::uint32_t byte = in_order; byte < got.end(); ++byte) {
            if (!got.has(byte)) continue;
            if (!blocks.empty() && blocks.back().second == byte && blocks.back().first >= in_order)
                ++blocks.back().second;
            else if (blocks.size() < 4)
                blocks.emplace_back(byte, byte + 1);
        }
        if (blocks.empty()) return segment;
        segment.options = {1, 1, 5, static_cast<std::uint8_t>(2 + 8 * blocks.size())};
        for (const auto& [from, to] : blocks) {
            append_long(segment.options, first + from);
            append_long(segment.options, first + to);
        }
        return segment;
    }
};

struct Client {
    Bytes stream;
    std::uint32_t first = 0, acknowledged = 0, sent = 0;  // FIN is one byte more than the stream
    std::uint32_t syn_data = 0;
    bool established = false;

    [[nodiscard]] std::uint32_t end() const { return static_cast<std::uint32_t>(stream.size()) + 1; }
    [[nodiscard]] Segment piece(std::uint32_t from, std::uint32_t length) {
        const auto data_end = static_cast<std::uint32_t>(stream.size());
        const std::uint32_t to = std::min(from + length, end());
        Segment segment{first + from, 1};
        if (from < data_end)
            segment.data.assign(stream.begin() + from, stream.begin() + std::min(to, data_end));
        if (to == end()) segment.flags |= kFin;
        sent = std::max(sent, to);
        return segment;
    }
    [[nodiscard]] Segment syn() {
        sent = std::max(sent, syn_data);
        return {first - 1, 0, kSyn, Bytes(stream.begin(), stream.begin() + syn_data)};
    }
    // A pure ACK, a keepalive, new bytes, or old ones.
    [[nodiscard]] Segment next(Random& random) {
        if (!established) return syn();
        const std::uint32_t length = 1 + random() % 600;
        if (happens(random, 10) || acknowledged == end()) return {first + sent, 1};
        if (happens(random, 5) && acknowledged == sent) return {first + sent - 1, 1};
        if (happens(random, 60) && sent < end()) return piece(sent, length);
        if (happens(random, 50)) return piece(acknowledged, length);
        return piece(acknowledged + (sent > acknowledged ? random() % (sent - acknowledged) : 0), length);
    }
    void receive(const Segment& segment, std::uint32_t header, const Server& server) {
        const std::uint32_t told = segment.acknowledgement - first;
        ASSERT_LE(told, sent) << "of bytes that it has not sent";
        established = true;
        acknowledged = std::max(acknowledged, told);
        for (std::size_t at = 4; at + 8 <= segment.options.size(); at += 8) {
            const std::uint32_t from = long_at(segment.options, at) - first,
                                to = long_at(segment.options, at + 4) - first;
            // A block below the stream is a D-SACK of the header: of nothing that the client has sent.
            if (static_cast<std::int32_t>(to) <= 0) continue;
            ASSERT_LE(to, sent) << "a block of bytes that it has not sent";
            for (std::uint32_t byte = static_cast<std::int32_t>(from) < 0 ? 0 : from; byte < to; ++byte)
                ASSERT_TRUE(server.got.has(byte + header)) << "a lie about byte " << byte;
        }
    }
};

class StreamsTest : public IdentityTest {
  protected:
    struct Conditions {
        unsigned lost = 0, repeated = 0, reordered = 0, cut = 0;
    };

    // A frame on the way is late by up to four others.
    void put(std::vector<Segment>& on_the_way, const Segment& segment, const Conditions& conditions) {
        if (happens(random_, conditions.lost)) return;
        const std::size_t back = happens(random_, conditions.reordered)
                                     ? std::min<std::size_t>(random_() % 5, on_the_way.size())
                                     : 0;
        on_the_way.insert(on_the_way.end() - static_cast<std::ptrdiff_t>(back), segment);
        if (happens(random_, conditions.repeated)) on_the_way.push_back(segment);
    }
    void client_sends(const Conditions& conditions) {
        const Segment segment = client.next(random_);
        if (happens(random_, conditions.lost)) return;  // before weir
        const auto seen = forward(segment);
        ASSERT_TRUE(seen);
        EXPECT_EQ(seen->acknowledgement, segment.acknowledgement);
        put(to_server_, *seen, conditions);
    }
    void server_receives(const Conditions& conditions) {
        const Segment segment = to_server_.front();
        to_server_.erase(to_server_.begin());
        const bool is_syn = (segment.flags & kSyn) != 0;
        const bool was_known = !server.listens;
        ASSERT_NO_FATAL_FAILURE(
            server.receive(segment, happens(random_, conditions.cut) ? random_() % 70 : ~0u));
        if (server.listens || (is_syn && was_known && server.established)) return;
        const Segment answer = server.answer(random_, is_syn);
        if (happens(random_, conditions.lost)) return;
        const Segment seen = to_client(answer);
        EXPECT_EQ(seen.sequence, answer.sequence);
        EXPECT_EQ(seen.data, answer.data);
        EXPECT_EQ(seen.options.size(), answer.options.size());
        put(to_client_, seen, conditions);
    }
    void step(const Conditions& conditions) {
        const unsigned what = random_() % 3;
        if (what == 0) {
            ASSERT_NO_FATAL_FAILURE(client_sends(conditions));
        } else if (what == 1 && !to_server_.empty()) {
            ASSERT_NO_FATAL_FAILURE(server_receives(conditions));
        } else if (what == 2 && !to_client_.empty()) {
            const Segment segment = to_client_.front();
            to_client_.erase(to_client_.begin());
            ASSERT_NO_FATAL_FAILURE(client.receive(segment, length(), server));
        }
    }
    void begin(std::uint32_t seed) {
        random_.engine.seed(seed);
        to_server_.clear(), to_client_.clear();
        next_client(seed % 2 != 0);
        client = {}, server = {};
        client.stream = payload(random_() % 4'000);
        client.first =
            happens(random_, 50) ? random_() : (random_() % 2 != 0 ? 0 : 1u << 31) - random_() % 4'000;
        if (happens(random_, 20))
            client.syn_data = static_cast<std::uint32_t>(random_() % (client.stream.size() + 1)) % 1'000;
        server.expected = joined(header(), client.stream);
        server.takes_syn_data = happens(random_, 70);
        server.sequence = random_();
    }
    [[nodiscard]] bool is_over() const {
        return server.got.in_order() == server.end() && client.acknowledged == client.end();
    }
    void converse(std::uint32_t seed) {
        begin(seed);
        const Conditions rough{.lost = random_() % 40,
                               .repeated = random_() % 20,
                               .reordered = random_() % 60,
                               .cut = random_() % 30};
        const unsigned steps = 20 + random_() % 200;
        for (unsigned n = 0; n < steps; ++n) ASSERT_NO_FATAL_FAILURE(step(rough));
        for (unsigned n = 0; n < 30'000 && !is_over(); ++n) ASSERT_NO_FATAL_FAILURE(step({}));
        ASSERT_TRUE(is_over());
    }

    Random random_;
    Client client;
    Server server;
    std::vector<Segment> to_server_, to_client_;
};

TEST_F(StreamsTest, the_server_gets_the_header_and_every_byte_once) {
    constexpr std::uint32_t kRuns = kSanitized ? 500 : 4'000;
    for (const auto identity : {ClientIdentity::proxy_v1, ClientIdentity::proxy_v2}) {
        start(identity);
        for (std::uint32_t seed = 0; seed < kRuns; ++seed) {
            SCOPED_TRACE(::testing::Message() << "seed " << seed);
            ASSERT_NO_FATAL_FAILURE(converse(seed));
        }
        const WorkerCounters& counters = world_->worker().counters();
        print_figure("%u conversations: %llu packets, %llu of them with a header; all streams whole", kRuns,
                     static_cast<unsigned long long>(counters.forwarded.value()),
                     static_cast<unsigned long long>(counters.identities_sent.value()));
        EXPECT_EQ(counters.session_inserts.value(), kRuns);
    }
}

}  // namespace
}  // namespace weir::test
