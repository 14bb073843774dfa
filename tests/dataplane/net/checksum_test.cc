#include "dataplane/net/checksum.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/dataplane/figure.h"

namespace weir {
namespace {

// RFC 1071 as its first sentence has it: words in network order, one at a time, odd bytes padded with zero.
std::uint16_t naive_sum(const std::uint8_t* bytes, std::size_t length) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < length; i += 2) {
        sum += static_cast<std::uint32_t>(bytes[i] << 8) + (i + 1 < length ? bytes[i + 1] : 0u);
        if (sum > 0xffff) sum -= 0xffff;
    }
    return static_cast<std::uint16_t>(sum);
}

std::uint16_t number(ChecksumSum sum) { return Be16::from_raw(fold(sum)).value(); }

std::vector<std::uint8_t> random_bytes(std::size_t length, std::mt19937_64& random) {
    std::vector<std::uint8_t> bytes(length);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    return bytes;
}

TEST(Checksum, known_vectors) {
    const std::uint8_t rfc1071[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};  // its section 3
    EXPECT_EQ(number(sum_of_bytes(rfc1071, sizeof(rfc1071))), 0xddf2);
    EXPECT_EQ(checksum_of(sum_of_bytes(rfc1071, sizeof(rfc1071))).value(), 0x220d);

    std::uint8_t header[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                             0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
    EXPECT_EQ(checksum_of(sum_of_bytes(header, sizeof(header))).value(), 0xb861);
    EXPECT_EQ(fold(sum_of_bytes(header, 0)), 0);
}

TEST(Checksum, sum_equals_naive_loop_at_every_length_and_alignment) {
    std::mt19937_64 random(3);
    for (std::size_t length = 0; length < 300; ++length) {
        for (std::size_t offset = 0; offset < 16; ++offset) {
            const auto bytes = random_bytes(length + offset, random);
            ASSERT_EQ(number(sum_of_bytes(bytes.data() + offset, length)),
                      naive_sum(bytes.data() + offset, length))
                << "length " << length << " offset " << offset;
        }
    }
    for (int i = 0; i < 200; ++i) {
        const auto bytes = random_bytes(random() % 70'000, random);
        ASSERT_EQ(number(sum_of_bytes(bytes.data(), bytes.size())), naive_sum(bytes.data(), bytes.size()));
    }
    const std::vector<std::uint8_t> ones(65'535, 0xff);
    EXPECT_EQ(number(sum_of_bytes(ones.data(), ones.size())), naive_sum(ones.data(), ones.size()));
}

TEST(Checksum, fold_keeps_the_value_of_any_sum) {
    std::mt19937_64 random(4);
    for (int i = 0; i < 1'000'000; ++i) {
        const std::uint64_t sum = random() >> (random() % 64);
        const std::uint64_t expected = sum % 0xffff;
        ASSERT_EQ(fold(sum) % 0xffff, expected) << sum;
        ASSERT_EQ(fold(sum) == 0, sum == 0) << sum;
    }
    EXPECT_EQ(fold(~std::uint64_t{0}), 0xffff);
}

// RFC 1071 2(C): carries added back until there are none.
std::uint16_t fold_step_by_step(std::uint64_t sum) {
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
    return static_cast<std::uint16_t>(sum);
}

TEST(Checksum, fold_equals_adding_the_carries_one_by_one) {
    constexpr std::uint64_t kWords[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xfffe, 0xffff};
    for (const std::uint64_t a : kWords)
        for (const std::uint64_t b : kWords)
            for (const std::uint64_t c : kWords)
                for (const std::uint64_t d : kWords) {
                    const std::uint64_t sum = a << 48 | b << 32 | c << 16 | d;
                    ASSERT_EQ(fold(sum), fold_step_by_step(sum)) << std::hex << sum;
                }
    std::mt19937_64 random(6);
    for (int i = 0; i < 1'000'000; ++i) {
        const std::uint64_t sum = random() >> (random() % 64);
        ASSERT_EQ(fold(sum), fold_step_by_step(sum)) << std::hex << sum;
        ASSERT_EQ(fold(~sum), fold_step_by_step(~sum)) << std::hex << ~sum;
    }
}

TEST(Checksum, ipv4_header_with_and_without_options) {
    std::mt19937_64 random(5);
    for (std::size_t words = 5; words <= 15; ++words) {
        for (int i = 0; i < 200; ++i) {
            auto bytes = random_bytes(4 * words, random);
            auto* header = reinterpret_cast<Ipv4Header*>(bytes.data());
            header->version_ihl = static_cast<std::uint8_t>(0x40 | words);
            header->checksum = Be16(0);
            header->checksum = checksum_of(sum_of_bytes(bytes.data(), bytes.size()));
            ASSERT_TRUE(ipv4_checksum_ok(header, 4 * (header->version_ihl & 15u)));
            const std::size_t bit = random() % (8 * bytes.size());
            if (bit < 8) continue;  // the length of what is summed
            bytes[bit / 8] = static_cast<std::uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
            ASSERT_FALSE(ipv4_checksum_ok(header, 4 * (header->version_ihl & 15u)))
                << "words " << words << " bit " << bit;
        }
    }
}

TEST(Checksum, pseudo_headers_equal_their_bytes) {
    std::mt19937_64 random(6);
    for (int i = 0; i < 1'000; ++i) {
        const auto v4 = random_bytes(8, random);
        const auto length = static_cast<std::uint16_t>(random());
        Ipv4Address source, destination;
        std::memcpy(&source, v4.data(), 4);
        std::memcpy(&destination, v4.data() + 4, 4);
        auto bytes = v4;
        for (const unsigned byte : {0u, 17u, 0u + (length >> 8), length & 0xffu})
            bytes.push_back(static_cast<std::uint8_t>(byte));
        ASSERT_EQ(number(pseudo_header_sum(source, destination, IpProtocol::udp, length)),
                  naive_sum(bytes.data(), bytes.size()));

        auto v6 = random_bytes(32, random);
        Ipv6Address source6, destination6;
        std::memcpy(&source6, v6.data(), 16);
        std::memcpy(&destination6, v6.data() + 16, 16);
        const auto length6 = static_cast<std::uint32_t>(random());
        for (const unsigned byte : {length6 >> 24, length6 >> 16, length6 >> 8, length6, 0u, 0u, 0u, 6u})
            v6.push_back(static_cast<std::uint8_t>(byte));
        ASSERT_EQ(number(pseudo_header_sum(source6, destination6, IpProtocol::tcp, length6)),
                  naive_sum(v6.data(), v6.size()));
    }
}

// A segment with a 16-bit word, a 32-bit word and a word that brings its checksum to any wanted value.
struct Segment {
    Be16 port;
    Be16 checksum;
    Be32 address;
    Be16 balance;
    Be16 zero;  // no padding: all bytes are summed

    void recompute() {
        checksum = Be16(0);
        checksum = checksum_of(sum_of_bytes(this, sizeof(*this)));
    }
};

Segment with_checksum(std::uint16_t wanted, std::mt19937_64& random) {
    Segment segment{Be16(static_cast<std::uint16_t>(random())), Be16(0),
                    Be32(static_cast<std::uint32_t>(random())), Be16(0), Be16(0)};
    segment.recompute();
    segment.balance =
        Be16(static_cast<std::uint16_t>((segment.checksum.value() + 0xffffu - wanted) % 0xffff));
    segment.recompute();
    return segment;
}

TEST(Checksum, incremental_update_equals_recomputation_for_all_old_checksums) {
    std::mt19937_64 random(7);
    // 0xffff is no checksum of anything but all zeros: see the next test.
    for (std::uint32_t wanted = 0; wanted < 0xffff; ++wanted) {
        Segment old = with_checksum(static_cast<std::uint16_t>(wanted), random);
        ASSERT_EQ(old.checksum.value(), wanted);
        for (int change = 0; change < 32; ++change) {
            Segment now = old;
            const std::uint64_t bits = random();
            // Also the two zeros of one's complement, before and after.
            now.port = Be16(static_cast<std::uint16_t>(change == 0 ? 0 : change == 1 ? 0xffff : bits));
            now.address = Be32(static_cast<std::uint32_t>(bits >> 32));
            now.recompute();
            const Be16 step = updated_checksum(old.checksum, old.port, now.port);
            ASSERT_EQ(updated_checksum(step, old.address, now.address), now.checksum) << "old " << wanted;
            const ChecksumSum before = ChecksumSum{old.port.raw()} + old.address.raw();
            const ChecksumSum after = ChecksumSum{now.port.raw()} + now.address.raw();
            ASSERT_EQ(updated_checksum(old.checksum, before, after), now.checksum);
            if (change < 2) old = now;
        }
    }
}

// Some senders write 0xffff where the sum says 0; both verify, and so must what is made of them.
TEST(Checksum, incremental_update_of_0xffff_stays_valid) {
    std::mt19937_64 random(8);
    for (int i = 0; i < 65'536; ++i) {
        Segment segment = with_checksum(0, random);
        segment.checksum = Be16(0xffff);
        const Be16 before = segment.port;
        segment.port = Be16(static_cast<std::uint16_t>(i));
        segment.checksum = updated_checksum(segment.checksum, before, segment.port);
        ASSERT_EQ(fold(sum_of_bytes(&segment, sizeof(segment))), 0xffff) << i;
    }
}

TEST(Checksum, a_wrong_checksum_stays_wrong) {
    std::mt19937_64 random(9);
    for (int i = 0; i < 100'000; ++i) {
        Segment segment = with_checksum(static_cast<std::uint16_t>(random() % 0xffff), random);
        const auto error = static_cast<std::uint16_t>(1 + random() % 0xfffe);
        segment.checksum = Be16(static_cast<std::uint16_t>((segment.checksum.value() + error) % 0xffff));
        const Be32 before = segment.address;
        segment.address = Be32(static_cast<std::uint32_t>(random()));
        segment.checksum = updated_checksum(segment.checksum, before, segment.address);
        ASSERT_NE(fold(sum_of_bytes(&segment, sizeof(segment))), 0xffff);
    }
}

// What a translation changes of a packet, and nothing else.
template <class Address>
struct Endpoints {
    Address source, destination;
    Be16 source_port, destination_port;
};

// The plain way, of words as they lie in memory.
std::uint32_t sum_of_words(const void* data, std::size_t length) {
    std::uint32_t sum = 0;
    for (std::size_t at = 0; at < length; at += 2) {
        std::uint16_t word;
        std::memcpy(&word, static_cast<const std::uint8_t*>(data) + at, sizeof(word));
        sum += word;
    }
    return sum;
}
std::uint16_t complement(std::uint64_t sum) { return static_cast<std::uint16_t>(~fold_step_by_step(sum)); }

// A packet without its addresses and ports: pseudo-header, L4 header, and a payload of one word that brings
// the checksum to any wanted value.
template <class Address, class L4Header>
class Packet {
  public:
    explicit Packet(std::mt19937_64& random) {
        const auto noise = random_bytes(sizeof(L4Header), random);
        std::memcpy(&l4_, noise.data(), sizeof(l4_));
        l4_.source = l4_.destination = l4_.checksum = Be16(0);
        const Address none{};
        constexpr IpProtocol kProtocol = kIsUdp ? IpProtocol::udp : IpProtocol::tcp;
        kept_ = fold_step_by_step(pseudo_header_sum(none, none, kProtocol, sizeof(l4_) + sizeof(Be16))) +
                sum_of_words(&l4_, sizeof(l4_));
    }
    // What its sender writes.
    Be16 recomputed(const Endpoints<Address>& ends) const {
        const std::uint16_t checksum = complement(kept_ + sum_of_words(&ends, sizeof(ends)));
        return Be16::from_raw(kIsUdp && checksum == 0 ? 0xffff : checksum);
    }
    void balance(const Endpoints<Address>& ends, std::uint16_t wanted) {
        const std::uint64_t sum = kept_ + sum_of_words(&ends, sizeof(ends));
        kept_ += (std::uint64_t{complement(sum)} + 0xffff - wanted) % 0xffff;
    }
    static constexpr bool kIsUdp = std::is_same_v<L4Header, UdpHeader>;

  private:
    L4Header l4_;
    std::uint64_t kept_;
};

template <class Address>
ChecksumSum address_sum(const Endpoints<Address>& ends) {
    return sum_of_bytes(&ends.source, sizeof(Address)) + sum_of_bytes(&ends.destination, sizeof(Address));
}
template <class Address>
ChecksumSum sum_of_all(const Endpoints<Address>& ends) {
    return address_sum(ends) + ends.source_port.raw() + ends.destination_port.raw();
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__) || defined(WEIR_EMULATED)
constexpr std::uint32_t kTranslations = 20;
#else
constexpr std::uint32_t kTranslations = 1'000;
#endif

// Random ones, and those of all zeros and all ones: the two zeros of one's complement.
template <class Address>
std::vector<Endpoints<Address>> endpoints(std::size_t count, std::mt19937_64& random) {
    std::vector<Endpoints<Address>> all(count);
    const auto noise = random_bytes(count * sizeof(all[0]), random);
    std::memcpy(all.data(), noise.data(), noise.size());
    std::memset(&all[0], 0, sizeof(all[0]));
    std::memset(&all[1], 0xff, sizeof(all[1]));
    return all;
}

template <class Address, class L4Header>
void compare_translations(const char* name) {
    std::mt19937_64 random(7);
    const auto ends = endpoints<Address>(65'521, random);
    std::uint64_t compared = 0, wrong = 0;
    // As UDP sends 0xffff for 0, and as 0xffff is no TCP checksum but of all zeros, the last value is the
    // first one's other form: of UDP the usual one, of TCP one that some senders write and all accept.
    for (std::uint32_t wanted = 0; wanted <= 0xffff; ++wanted) {
        Packet<Address, L4Header> packet(random);
        const auto& old = ends[random() % ends.size()];
        packet.balance(old, static_cast<std::uint16_t>(wanted));
        const Be16 checksum = Be16::from_raw(static_cast<std::uint16_t>(wanted));
        if (wanted != 0 && wanted != 0xffff) {
            ASSERT_EQ(packet.recomputed(old), checksum);
        }
        const ChecksumSum before = sum_of_all(old);
        std::size_t at = random() % ends.size();
        for (std::uint32_t n = 0; n < kTranslations; ++n, ++compared) {
            const auto& now = ends[n < 2 ? n : at];
            Be16 updated = updated_checksum(checksum, before, sum_of_all(now));
            if (Packet<Address, L4Header>::kIsUdp && updated.raw() == 0) updated = Be16(0xffff);
            wrong += updated != packet.recomputed(now) ? 1 : 0;
            at = at + 1 < ends.size() ? at + 1 : 0;
        }
    }
    EXPECT_EQ(wrong, 0u) << name;
    print_figure("%s: %llu incremental updates compared with recomputation, %llu differ", name,
                 static_cast<unsigned long long>(compared), static_cast<unsigned long long>(wrong));
}

TEST(Checksum, translated_packets_have_the_checksum_that_recomputation_gives) {
    compare_translations<Ipv4Address, TcpHeader>("TCP over IPv4");
    compare_translations<Ipv4Address, UdpHeader>("UDP over IPv4");
    compare_translations<Ipv6Address, TcpHeader>("TCP over IPv6");
    compare_translations<Ipv6Address, UdpHeader>("UDP over IPv6");
}

// The IPv4 header's own, of which only the addresses change.
TEST(Checksum, a_translated_ipv4_header_has_the_checksum_that_recomputation_gives) {
    std::mt19937_64 random(8);
    const auto ends = endpoints<Ipv4Address>(65'521, random);
    std::uint64_t compared = 0, wrong = 0;
    for (std::uint32_t wanted = 0; wanted < 0xffff; ++wanted) {
        Ipv4Header header{};
        header.version_ihl = 0x45;
        header.total_length = Be16(static_cast<std::uint16_t>(random()));
        header.source = ends[wanted % ends.size()].source;
        header.destination = ends[wanted % ends.size()].destination;
        const std::uint16_t sum = complement(sum_of_words(&header, sizeof(header)));
        header.identification = Be16::from_raw(static_cast<std::uint16_t>((sum + 0xffffu - wanted) % 0xffff));
        header.checksum = Be16::from_raw(static_cast<std::uint16_t>(wanted));
        ASSERT_TRUE(ipv4_checksum_ok(&header, sizeof(header)));
        const std::uint32_t kept = sum_of_words(&header, offsetof(Ipv4Header, checksum));
        const ChecksumSum before = address_sum(ends[wanted % ends.size()]);
        std::size_t at = random() % ends.size();
        for (std::uint32_t n = 0; n < kTranslations; ++n, ++compared) {
            const auto& now = ends[n < 2 ? n : at];
            const std::uint32_t all = kept + sum_of_words(&now, 2 * sizeof(Ipv4Address));
            wrong += updated_checksum(header.checksum, before, address_sum(now)).raw() != complement(all);
            at = at + 1 < ends.size() ? at + 1 : 0;
        }
    }
    EXPECT_EQ(wrong, 0u);
    print_figure("IPv4 headers: %llu incremental updates compared with recomputation, %llu differ",
                 static_cast<unsigned long long>(compared), static_cast<unsigned long long>(wrong));
}

}  // namespace
}  // namespace weir
