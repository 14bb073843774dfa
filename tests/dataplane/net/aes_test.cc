#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/aes_round.h"
#include "tests/dataplane/figure.h"

namespace weir {
namespace {

using Bytes16 = std::array<std::uint8_t, 16>;

Bytes16 from_hex(std::string_view hex) {
    Bytes16 bytes{};
    for (std::size_t i = 0; i < 16; ++i)
        bytes[i] = static_cast<std::uint8_t>(std::stoul(std::string(hex.substr(2 * i, 2)), nullptr, 16));
    return bytes;
}

Bytes16 bytes_of(const AesBlock& block) {
    Bytes16 bytes;
    static_assert(sizeof(block) == sizeof(bytes));
    std::memcpy(bytes.data(), &block, sizeof(bytes));
    return bytes;
}

HashKey test_key(std::uint8_t first = 1) {
    std::array<std::uint8_t, kHashKeyBytes> secret;
    for (std::size_t i = 0; i < secret.size(); ++i) secret[i] = static_cast<std::uint8_t>(first + i);
    return HashKey(secret);
}

FlowKeyV4 flow_v4(std::uint32_t source, std::uint16_t source_port) {
    FlowKeyV4 flow{};
    flow.source = {Be32(source)};
    flow.destination = {Be32(0xcb00'710a)};  // 203.0.113.10
    flow.source_port = Be16(source_port);
    flow.destination_port = Be16(443);
    flow.protocol = IpProtocol::tcp;
    return flow;
}

FlowKeyV6 flow_v6(std::uint64_t source, std::uint16_t source_port) {
    FlowKeyV6 flow{};
    for (std::size_t i = 0; i < 8; ++i)
        flow.source.bytes[15 - i] = static_cast<std::uint8_t>(source >> (8 * i));
    flow.source.bytes[0] = flow.destination.bytes[0] = 0x20;
    flow.destination.bytes[15] = 1;
    flow.source_port = Be16(source_port);
    flow.destination_port = Be16(443);
    flow.protocol = IpProtocol::udp;
    return flow;
}

// FIPS-197 appendix B, round 1: "start of round" to "start of round" of the next.
TEST(AesRound, agrees_with_fips_197_appendix_b) {
    const Bytes16 state = from_hex("193de3bea0f4e22b9ac68d2ae9f84808");
    const Bytes16 key = from_hex("a0fafe1788542cb123a339392a6c7605");
    const Bytes16 next = from_hex("a49c7ff2689f352b6b5bea43026a5049");
    EXPECT_EQ(bytes_of(aes_round(load_block(state.data()), load_block(key.data()))), next);
    EXPECT_EQ(portable::aes_round({state}, {key}).bytes, next);
}

TEST(AesRound, machine_and_portable_agree_on_200000_random_blocks) {
    std::mt19937_64 random(1);
    const auto draw = [&random] {
        const std::array<std::uint64_t, 2> words{random(), random()};
        return std::bit_cast<Bytes16>(words);
    };
    for (int i = 0; i < 200'000; ++i) {
        const Bytes16 state = draw(), key = draw();
        const AesBlock block = aes_round(load_block(state.data()), load_block(key.data()));
        const portable::AesBlock twin = portable::aes_round({state}, {key});
        ASSERT_EQ(bytes_of(block), twin.bytes) << "at " << i;
        ASSERT_EQ(low_half(block), portable::low_half(twin));
    }
}

// AES-256 of the zero block under the zero key is a published vector (NIST AESAVS); the others are from
// `openssl enc -aes-256-ecb -nopad`.
TEST(HashKey, round_keys_are_aes_256_of_a_counter) {
    const auto round = [](const HashKey& key, std::size_t i) {
        Bytes16 bytes;
        std::memcpy(bytes.data(), key.round(i), 16);
        return bytes;
    };
    EXPECT_EQ(round(HashKey::zero(), 0), from_hex("dc95c078a2408989ad48a21492842087"));
    EXPECT_EQ(round(test_key(), 0), from_hex("a73c5576667b7b43a23a9fd930b5465d"));
    EXPECT_EQ(round(test_key(), 5), from_hex("96e1c122be81fbe537705e2e1fa38d38"));
}

// The promise between appliances: x86, Arm and -Dmarch=portable must all give these.
TEST(KeyedHash, golden_values) {
    const HashKey zero = HashKey::zero();
    EXPECT_EQ(keyed_hash(zero, FlowKeyV4{}), 0x02d1'4870'52fe'52d7u);
    EXPECT_EQ(keyed_hash(test_key(), flow_v4(0xc633'6407, 4242)), 0x2eb8'2e11'2c29'84cbu);
    EXPECT_EQ(keyed_hash(zero, FlowKeyV6{}), 0x1f02'af74'b722'9411u);
    EXPECT_EQ(keyed_hash(test_key(), flow_v6(7, 4242)), 0x100c'8010'3032'98f0u);
    EXPECT_EQ(keyed_hash(zero, std::string_view{}), 0x5f74'8403'5ac2'a2ffu);
    EXPECT_EQ(keyed_hash(test_key(), "a name of more than sixteen bytes"), 0xcd42'51f2'bb8d'4dd9u);
}

TEST(KeyedHash, a_flow_hashes_as_its_bytes) {
    const FlowKeyV4 v4 = flow_v4(77, 5);
    const FlowKeyV6 v6 = flow_v6(77, 5);
    EXPECT_EQ(keyed_hash(test_key(), v4),
              keyed_hash(test_key(), std::string_view(reinterpret_cast<const char*>(&v4), sizeof(v4))));
    EXPECT_EQ(keyed_hash(test_key(), v6),
              keyed_hash(test_key(), std::string_view(reinterpret_cast<const char*>(&v6), sizeof(v6))));
}

TEST(KeyedHash, length_is_part_of_the_input) {
    const std::string zeros(64, '\0');
    std::vector<std::uint64_t> seen;
    for (std::size_t length = 0; length <= zeros.size(); ++length)
        seen.push_back(keyed_hash(test_key(), std::string_view(zeros).substr(0, length)));
    std::sort(seen.begin(), seen.end());
    EXPECT_EQ(std::unique(seen.begin(), seen.end()), seen.end());
}

// Each input bit must flip each output bit in half of the cases.
template <class Flow, class Hash>
void expect_avalanche(std::size_t input_bytes, Hash hash, std::mt19937_64& random) {
    constexpr int kSamples = 4'000;
    double least = 1, most = 0;
    for (std::size_t bit = 0; bit < 8 * input_bytes; ++bit) {
        std::array<int, 64> flips{};
        for (int sample = 0; sample < kSamples; ++sample) {
            Flow flow;
            auto* bytes = reinterpret_cast<std::uint8_t*>(&flow);
            for (std::size_t i = 0; i < sizeof(flow); ++i) bytes[i] = static_cast<std::uint8_t>(random());
            const std::uint64_t before = hash(flow);
            bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
            const std::uint64_t changed = before ^ hash(flow);
            for (std::size_t out = 0; out < 64; ++out) flips[out] += static_cast<int>(changed >> out & 1);
        }
        for (const int count : flips) {
            least = std::min(least, static_cast<double>(count) / kSamples);
            most = std::max(most, static_cast<double>(count) / kSamples);
        }
    }
    print_figure("avalanche over %zu input bits: output bits flip with p in %.3f .. %.3f", 8 * input_bytes,
                 least, most);
    EXPECT_GE(least, 0.45);
    EXPECT_LE(most, 0.55);
}

TEST(KeyedHash, avalanche) {
    std::mt19937_64 random(2);
    const HashKey key = test_key();
    expect_avalanche<FlowKeyV4>(
        13, [&key](const FlowKeyV4& f) { return keyed_hash(key, f); }, random);
    expect_avalanche<FlowKeyV6>(
        37, [&key](const FlowKeyV6& f) { return keyed_hash(key, f); }, random);
}

// z of the chi-square statistic against the normal approximation: |z| beyond 5 is no accident.
double chi_square_z(const std::vector<std::uint32_t>& buckets, double total) {
    const double expected = total / static_cast<double>(buckets.size());
    double chi = 0;
    for (const std::uint32_t count : buckets) chi += (count - expected) * (count - expected) / expected;
    const auto freedom = static_cast<double>(buckets.size() - 1);
    return (chi - freedom) / std::sqrt(2 * freedom);
}

TEST(KeyedHash, sequential_flows_fill_buckets_evenly) {
    const HashKey key = HashKey::zero();
    constexpr std::size_t kBuckets = 4'096, kFlows = 1 << 20;
    std::vector<std::uint32_t> low(kBuckets), high(kBuckets), v6_high(kBuckets);
    for (std::uint32_t i = 0; i < kFlows; ++i) {
        const std::uint64_t hash =
            keyed_hash(key, flow_v4(0x0a00'0000 + i / 1024, static_cast<std::uint16_t>(1024 + i % 1024)));
        ++low[hash % kBuckets];
        ++high[hash >> 52];
        ++v6_high[keyed_hash(key, flow_v6(i / 1024, static_cast<std::uint16_t>(i % 1024))) >> 52];
    }
    for (const auto& [name, buckets] :
         {std::pair{"low bits", &low}, {"high bits", &high}, {"IPv6", &v6_high}}) {
        const double z = chi_square_z(*buckets, kFlows);
        print_figure("sequential 5-tuples over 4,096 buckets, %s: chi-square z = %.2f", name, z);
        EXPECT_LT(std::abs(z), 5) << name;
    }
}

// reliability.md F-8: flows picked to share a bucket under a key that the attacker knows.
TEST(KeyedHash, flows_that_meet_under_one_key_spread_under_another) {
    const HashKey known = HashKey::zero(), secret = test_key();
    constexpr std::size_t kBuckets = 64, kFlows = 20'000;
    std::vector<std::uint32_t> spread(kBuckets);
    std::size_t chosen = 0;
    for (std::uint32_t i = 0; chosen < kFlows; ++i) {
        const FlowKeyV4 flow = flow_v4(i, 4242);
        if (keyed_hash(known, flow) >> 58 != 0) continue;
        ++chosen;
        ++spread[keyed_hash(secret, flow) >> 58];
    }
    const double most = *std::max_element(spread.begin(), spread.end()) * double{kBuckets} / kFlows;
    print_figure("20,000 flows of one bucket of 64 under another key: fullest bucket %.2f x the mean", most);
    EXPECT_LT(std::abs(chi_square_z(spread, kFlows)), 5);
}

TEST(KeyedHash, each_bit_of_the_key_matters) {
    std::array<std::uint8_t, kHashKeyBytes> secret{};
    const std::uint64_t base = keyed_hash(HashKey(secret), flow_v4(1, 1));
    double flipped = 0;
    for (std::size_t bit = 0; bit < 256; ++bit) {
        secret[bit / 8] = static_cast<std::uint8_t>(1u << (bit % 8));
        const int changed = __builtin_popcountll(base ^ keyed_hash(HashKey(secret), flow_v4(1, 1)));
        EXPECT_GE(changed, 10) << "key bit " << bit;
        flipped += changed;
        secret[bit / 8] = 0;
    }
    EXPECT_NEAR(flipped / 256, 32, 1.5);  // standard error 0.25
}

TEST(KeyedHash, timing) {
    const HashKey key = test_key();
    FlowKeyV4 flow = flow_v4(1, 1);
    constexpr int kHashes = 2'000'000;
    Stopwatch watch;
    std::uint64_t sum = 0;
    for (int i = 0; i < kHashes; ++i) {
        flow.source = {Be32::from_raw(static_cast<std::uint32_t>(i))};
        sum += keyed_hash(key, flow);
    }
    print_figure("IPv4 keyed_hash: %.1f ns each", watch.milliseconds() * 1e6 / kHashes);
    EXPECT_NE(sum, 0u);
}

}  // namespace
}  // namespace weir
