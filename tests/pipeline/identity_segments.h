// TCP segments as values, PROXY headers made a second time, and a fixture that sends segments through a
// translated flow. Every frame that comes out is compared with one that is built from nothing out of what it
// says: so lengths and checksums are judged by full recomputation.
#pragma once

#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <string>

#include "tests/drivers/eal_fixture.h"
#include "tests/support/frame_tuple.h"
#include "tests/support/small_world.h"

namespace weir::test {

inline constexpr std::uint8_t kUrg = 0x20;

struct Segment {
    std::uint32_t sequence = 0, acknowledgement = 0;
    std::uint8_t flags = kAck;
    Bytes data{}, options{};
    std::uint16_t urgent = 0, window = 0xffff;
    friend bool operator==(const Segment&, const Segment&) = default;
};

inline void append_long(Bytes& bytes, std::uint32_t number) {
    append_word(bytes, number >> 16);
    append_word(bytes, number & 0xffff);
}
inline std::uint32_t long_at(std::span<const std::uint8_t> bytes, std::size_t at) {
    return std::uint32_t{word_at(bytes, at)} << 16 | word_at(bytes, at + 2);
}

inline Bytes segment_frame(const Tuple& tuple, const Segment& segment, const Link& link = {}) {
    Bytes l4;
    append_word(l4, tuple.source_port);
    append_word(l4, tuple.destination_port);
    append_long(l4, segment.sequence);
    append_long(l4, segment.acknowledgement);
    append(l4, Bytes{static_cast<std::uint8_t>((5 + segment.options.size() / 4) << 4), segment.flags});
    append_word(l4, segment.window);
    append_word(l4, 0);
    append_word(l4, segment.urgent);
    append(l4, segment.options);
    append(l4, segment.data);
    return ip_frame(link, tuple.source, tuple.destination, 6, std::move(l4), 16);
}

inline std::size_t l4_of(const Bytes& frame) { return word_at(frame, 12) == 0x0800 ? 34 : 54; }

inline Segment segment_in(const Bytes& frame) {
    const std::size_t l4 = l4_of(frame), data = l4 + (frame[l4 + 12] >> 4) * 4u;
    Segment segment{.sequence = long_at(frame, l4 + 4),
                    .acknowledgement = long_at(frame, l4 + 8),
                    .flags = frame[l4 + 13]};
    segment.window = word_at(frame, l4 + 14);
    segment.urgent = word_at(frame, l4 + 18);
    segment.options.assign(frame.begin() + static_cast<std::ptrdiff_t>(l4 + 20),
                           frame.begin() + static_cast<std::ptrdiff_t>(data));
    segment.data.assign(frame.begin() + static_cast<std::ptrdiff_t>(data), frame.end());
    return segment;
}

inline Link link_of(const Bytes& frame) {
    Link link;
    std::copy_n(frame.begin(), 6, link.to.bytes.begin());
    std::copy_n(frame.begin() + 6, 6, link.from.bytes.begin());
    return link;
}

// proxy-protocol.txt 2.1 and 2.2, of the client's tuple.
inline std::string in_full(const IpAddress& address) {
    std::string text;
    const auto bytes = wire_bytes(address);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        char part[4];
        std::snprintf(part, sizeof(part), address.is_v4() ? "%u" : "%02x", bytes[i]);
        if (i != 0 && (address.is_v4() || i % 2 == 0)) text += address.is_v4() ? '.' : ':';
        text += part;
    }
    return text;
}
inline Bytes proxy_header(ClientIdentity identity, const Tuple& client, bool udp = false) {
    const bool v4 = client.source.is_v4();
    if (identity == ClientIdentity::proxy_v1) {
        const std::string line = std::string(v4 ? "PROXY TCP4 " : "PROXY TCP6 ") + in_full(client.source) +
                                 " " + in_full(client.destination) + " " +
                                 std::to_string(client.source_port) + " " +
                                 std::to_string(client.destination_port) + "\r\n";
        return {line.begin(), line.end()};
    }
    Bytes header{'\r', '\n', '\r', '\n', 0, '\r', '\n', 'Q', 'U', 'I', 'T', '\n', 0x21};
    header.push_back(static_cast<std::uint8_t>((v4 ? 0x10 : 0x20) | (udp ? 2 : 1)));
    append_word(header, v4 ? 12 : 36);
    append(header, wire_bytes(client.source));
    append(header, wire_bytes(client.destination));
    append_word(header, client.source_port);
    append_word(header, client.destination_port);
    return header;
}
// Kind 254, length, port, address.
inline Bytes toa_option(const Tuple& client) {
    Bytes option{254, static_cast<std::uint8_t>(client.source.is_v4() ? 8 : 20)};
    append_word(option, client.source_port);
    append(option, wire_bytes(client.source));
    return option;
}

inline Bytes joined(Bytes first, const Bytes& second) {
    append(first, second);
    return first;
}

// TCP and UDP services in mode nat over both families, a backend each.
inline Config identity_config(ClientIdentity identity) {
    Config config = edge_config();
    config.ports[0].snat.addresses = {ip("10.1.0.2"), ip("fd00:1::2")};
    config.ports[0].snat.ports = {32'768, 65'535};
    config.pools = {pool("web", {backend("a", "10.1.1.11")}), pool("web6", {backend("a", "fd00:1::11")})};
    for (PoolConfig& pool : config.pools) {
        pool.table_size = 251;
        pool.client_address = identity;
    }
    config.services = {service("web", "203.0.113.10", "web", ForwardingMode::nat),
                       service("web6", "2001:db8:100::10", "web6", ForwardingMode::nat)};
    for (ServiceConfig& service : config.services) service.udp = identity == ClientIdentity::proxy_v2;
    return config;
}

class IdentityTest : public DriversTest {
  protected:
    void start(ClientIdentity identity, std::vector<PortFacts> facts = edge_facts()) {
        identity_ = identity;
        world_.reset();
        world_ = std::make_unique<SmallWorld>(identity_config(identity), std::move(facts), 1, 32'768, true, 0,
                                              32'768);
    }
    void TearDown() override {
        if (world_) world_->expect_consistent();
        world_.reset();
        EXPECT_EQ(frames_.in_use(), 0u);
    }
    // From here on segments are of a new client.
    void next_client(bool v6) {
        client_ = client_flow(++clients_, ip(v6 ? "2001:db8:100::10" : "203.0.113.10"));
        server_.reset();
    }
    [[nodiscard]] Bytes header() const { return proxy_header(identity_, client_); }
    [[nodiscard]] std::uint32_t length() const { return static_cast<std::uint32_t>(header().size()); }

    [[nodiscard]] std::optional<Bytes> run(rte_mbuf* packet) {
        world_->worker().run({&packet, 1}, now_);
        std::vector<Bytes> sent = world_->worker().take();
        EXPECT_LE(sent.size(), 1u);
        if (sent.empty()) return std::nullopt;
        return std::move(sent.front());
    }
    std::optional<Segment> judge(const std::optional<Bytes>& frame, const Tuple& expected) {
        if (!frame) return std::nullopt;
        const Segment seen = segment_in(*frame);
        EXPECT_EQ(*frame, segment_frame(expected, seen, link_of(*frame)));
        return seen;
    }
    // As it comes out on the other side; none: it was dropped.
    std::optional<Segment> forward(rte_mbuf* packet) {
        const std::optional<Bytes> frame = run(packet);
        if (frame && !server_) server_ = tuple_of(*frame);
        return frame ? judge(frame, *server_) : std::nullopt;
    }
    std::optional<Segment> forward(const Segment& segment) {
        return forward(frames_.frame(segment_frame(client_, segment)));
    }
    Segment to_backend(const Segment& segment) {
        const auto seen = forward(segment);
        EXPECT_TRUE(seen);
        return seen.value_or(Segment{});
    }
    Segment to_client(const Segment& segment) {
        const auto seen =
            judge(run(frames_.frame(segment_frame(turned(*server_), segment))), turned(client_));
        EXPECT_TRUE(seen);
        return seen.value_or(Segment{});
    }
    // SYN and SYN-ACK. The client's first byte has the number `first`.
    void shake_hands(std::uint32_t first, std::uint32_t servers = 77'000) {
        const Segment syn{.sequence = first - 1, .flags = kSyn};
        EXPECT_EQ(to_backend(syn), syn);
        const Segment answer{.sequence = servers - 1, .acknowledgement = first, .flags = kSyn | kAck};
        EXPECT_EQ(to_client(answer), answer);
    }
    std::uint64_t counted(Counter WorkerCounters::*counter) {
        return (world_->worker().counters().*counter).value();
    }
    std::uint64_t drops(DropReason reason) { return dropped(world_->worker().counters(), reason); }

    FramePool frames_{"identity", 4095};
    std::unique_ptr<SmallWorld> world_;
    ClientIdentity identity_{};
    std::uint32_t clients_ = 0;
    Tick now_{100};
    Tuple client_;
    std::optional<Tuple> server_;  // what the backend sees
};

}  // namespace weir::test
