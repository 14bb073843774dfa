// The flow's key and hash out of registers against the key as a struct, which is what appliances agree on.
#include "dataplane/net/flow_blocks.h"

#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "dataplane/net/aes_hash.h"

namespace weir {
namespace {

constexpr int kPackets = 50'000;

HashKey random_key(std::mt19937& random) {
    std::array<std::uint8_t, kHashKeyBytes> secret;
    for (std::uint8_t& byte : secret) byte = static_cast<std::uint8_t>(random());
    return HashKey(secret);
}

// Addresses and ports in memory at any alignment, `gap` bytes apart, as with IP options or extension headers.
struct Packet {
    Packet(std::size_t addresses, std::mt19937& random)
        : bytes(160), start(random() % 16), l4(start + addresses + random() % 41) {
        for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
    }
    [[nodiscard]] const std::uint8_t* addresses() const { return bytes.data() + start; }
    [[nodiscard]] const std::uint8_t* ports() const { return bytes.data() + l4; }
    std::vector<std::uint8_t> bytes;
    std::size_t start, l4;
};

// Field by field; what no field covers is zero.
template <class Key>
Key key_of(const Packet& packet, IpProtocol protocol) {
    Key key;
    std::memset(static_cast<void*>(&key), 0, sizeof(key));
    std::memcpy(&key.source, packet.addresses(), sizeof(key.source));
    std::memcpy(&key.destination, packet.addresses() + sizeof(key.source), sizeof(key.destination));
    std::memcpy(&key.source_port, packet.ports(), 2);
    std::memcpy(&key.destination_port, packet.ports() + 2, 2);
    key.protocol = protocol;
    return key;
}

template <class Blocks, class Key>
void expect_like_struct(std::uint32_t seed) {
    std::mt19937 random(seed);
    for (int i = 0; i < kPackets; ++i) {
        const HashKey hash_key = random_key(random);
        const Packet packet(2 * sizeof(Key::source), random);
        const auto protocol = static_cast<IpProtocol>(i % 3 == 0 ? random() % 256 : i % 3 == 1 ? 6 : 17);
        const Key expected = key_of<Key>(packet, protocol);
        const Blocks blocks = Blocks::of(packet.addresses(), packet.ports(), protocol);
        static_assert(sizeof(blocks) == sizeof(expected));
        ASSERT_EQ(std::memcmp(&blocks, &expected, sizeof(blocks)), 0) << "packet " << i;
        ASSERT_EQ(blocks.hash(hash_key), keyed_hash(hash_key, expected)) << "packet " << i;
    }
}

TEST(FlowBlocks, ipv4_is_the_struct_and_hashes_like_it) { expect_like_struct<FlowBlocksV4, FlowKeyV4>(51); }
TEST(FlowBlocks, ipv6_is_the_struct_and_hashes_like_it) { expect_like_struct<FlowBlocksV6, FlowKeyV6>(52); }

}  // namespace
}  // namespace weir
