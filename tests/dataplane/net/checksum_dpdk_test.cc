// weir's sums against DPDK's, which every NIC driver is tested with.
#include <gtest/gtest.h>
#include <rte_ip.h>

#include <random>
#include <vector>

#include "dataplane/net/checksum.h"

namespace weir {
namespace {

class ChecksumAgainstDpdk : public testing::Test {
  protected:
    std::vector<std::uint8_t> random_bytes(std::size_t length) {
        std::vector<std::uint8_t> bytes(length);
        for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random_());
        return bytes;
    }
    std::mt19937_64 random_{10};
};

TEST_F(ChecksumAgainstDpdk, raw_sum) {
    for (int i = 0; i < 20'000; ++i) {
        const auto bytes = random_bytes(random_() % 2'000);
        ASSERT_EQ(fold(sum_of_bytes(bytes.data(), bytes.size())), rte_raw_cksum(bytes.data(), bytes.size()));
    }
}

TEST_F(ChecksumAgainstDpdk, ipv4_header) {
    for (std::size_t words = 5; words <= 15; ++words) {
        for (int i = 0; i < 1'000; ++i) {
            auto bytes = random_bytes(4 * words);
            bytes[0] = static_cast<std::uint8_t>(0x40 | words);
            bytes[10] = bytes[11] = 0;
            auto* header = reinterpret_cast<rte_ipv4_hdr*>(bytes.data());
            const std::uint16_t theirs = rte_ipv4_cksum(header);
            ASSERT_EQ(checksum_of(sum_of_bytes(bytes.data(), bytes.size())).raw(), theirs);
            header->hdr_checksum = theirs;
            ASSERT_TRUE(ipv4_checksum_ok(reinterpret_cast<const Ipv4Header*>(bytes.data()), bytes.size()));
        }
    }
}

TEST_F(ChecksumAgainstDpdk, tcp_over_ipv4_and_ipv6) {
    for (int i = 0; i < 20'000; ++i) {
        const std::size_t payload = 8 + random_() % 1'480;
        auto v4 = random_bytes(sizeof(Ipv4Header) + payload);
        auto* header4 = reinterpret_cast<Ipv4Header*>(v4.data());
        header4->version_ihl = 0x45;
        header4->total_length = Be16(static_cast<std::uint16_t>(v4.size()));
        header4->protocol = static_cast<std::uint8_t>(IpProtocol::tcp);
        const std::uint8_t* payload4 = v4.data() + sizeof(Ipv4Header);
        const ChecksumSum pseudo4 = pseudo_header_sum(header4->source, header4->destination, IpProtocol::tcp,
                                                      static_cast<std::uint16_t>(payload));
        ASSERT_EQ(checksum_of(pseudo4 + sum_of_bytes(payload4, payload)).raw(),
                  rte_ipv4_udptcp_cksum(reinterpret_cast<const rte_ipv4_hdr*>(v4.data()), payload4));

        auto v6 = random_bytes(sizeof(Ipv6Header) + payload);
        auto* header6 = reinterpret_cast<Ipv6Header*>(v6.data());
        header6->payload_length = Be16(static_cast<std::uint16_t>(payload));
        header6->next_header = static_cast<std::uint8_t>(IpProtocol::tcp);
        const std::uint8_t* payload6 = v6.data() + sizeof(Ipv6Header);
        const ChecksumSum pseudo6 = pseudo_header_sum(header6->source, header6->destination, IpProtocol::tcp,
                                                      static_cast<std::uint32_t>(payload));
        ASSERT_EQ(checksum_of(pseudo6 + sum_of_bytes(payload6, payload)).raw(),
                  rte_ipv6_udptcp_cksum(reinterpret_cast<const rte_ipv6_hdr*>(v6.data()), payload6));
    }
}

}  // namespace
}  // namespace weir
