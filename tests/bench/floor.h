// The floor that every figure of the bench is held against: what no stateful balancer can do without.
//
// FROZEN. It hashes the 5-tuple under a key, touches one cache line that was prefetched a burst ahead, and
// writes a new header of 34 bytes in front of the packet; nothing else. No check, no service, no time-out, no
// counter. Whoever makes it slower cheats; whoever makes it faster makes every old ratio worthless. Its
// source changes only together with a paragraph in docs/PERFORMANCE.md that gives both floors from one run.
#pragma once

#include <rte_mbuf.h>
#include <rte_prefetch.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <span>

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/net/headers.h"

namespace weir::bench {

struct alignas(64) FloorLine {
    std::uint64_t words[8];
};

// 14 bytes of Ethernet and 20 of IPv4, as an IPIP balancer writes them; the word keeps the compiler and the
// CPU from doing without the line.
struct FloorHeader {
    std::array<std::uint8_t, 34> bytes;
};

class Floor {
  public:
    static constexpr std::uint32_t kBurst = 32;

    Floor(std::span<FloorLine> lines, const HashKey& key, const FloorHeader& header) noexcept
        : lines_(lines), key_(key), header_(header) {}

    // At most kBurst packets with TCP or UDP at once behind an IP header without options or extensions.
    template <class Header>
    void run(std::span<rte_mbuf* const> packets) noexcept {
        std::array<const FloorLine*, kBurst> line;
        for (std::size_t i = 0; i < packets.size(); ++i) {
            const auto* ip = rte_pktmbuf_mtod_offset(packets[i], const std::uint8_t*, sizeof(EthernetHeader));
            line[i] = &lines_[(hash(ip, Header{}) >> 32) * lines_.size() >> 32];
            rte_prefetch0(line[i]);
        }
        for (std::size_t i = 0; i < packets.size(); ++i) {
            rte_mbuf* packet = packets[i];
            constexpr std::uint16_t kMore = sizeof(FloorHeader) - sizeof(EthernetHeader);
            packet->data_off = static_cast<std::uint16_t>(packet->data_off - kMore);
            packet->data_len = static_cast<std::uint16_t>(packet->data_len + kMore);
            packet->pkt_len += kMore;
            auto* frame = rte_pktmbuf_mtod(packet, std::uint8_t*);
            std::memcpy(frame, &header_, sizeof(header_));
            frame[5] = static_cast<std::uint8_t>(line[i]->words[0]);  // a MAC's last byte: needs the line
        }
    }

  private:
    // The 5-tuple is taken from the packet in whole words: written field by field and read as a block, it
    // would wait for the store buffer.
    static std::uint64_t word(const std::uint8_t* bytes) noexcept {
        std::uint64_t value;
        std::memcpy(&value, bytes, sizeof(value));
        return value;
    }
    [[nodiscard]] std::uint64_t hash(const std::uint8_t* ip, const Ipv4Header&) const noexcept {
        constexpr std::uint64_t kProtocolAndSource = 0xffff'ffff'0000'ff00;  // without TTL and checksum
        const AesBlock tuple = block_of(word(ip + 8) & kProtocolAndSource, word(ip + 16));
        return aes_hash::finish(key_, aes_hash::absorb(key_, aes_hash::start(key_, 16), tuple));
    }
    [[nodiscard]] std::uint64_t hash(const std::uint8_t* ip, const Ipv6Header&) const noexcept {
        AesBlock state = aes_hash::start(key_, 48);
        state = aes_hash::absorb(key_, state, load_block(ip + 8));
        state = aes_hash::absorb(key_, state, load_block(ip + 24));
        state = aes_hash::absorb(key_, state, block_of(word(ip + 40) & 0xffff'ffff, ip[6]));
        return aes_hash::finish(key_, state);
    }

    std::span<FloorLine> lines_;
    HashKey key_;
    FloorHeader header_;
};

}  // namespace weir::bench
