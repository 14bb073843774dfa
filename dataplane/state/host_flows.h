// With whom the kernel has lately talked: TCP and UDP flows in which it has sent something, and neighbours
// that it has asked for their MAC. What comes back from them has buckets of its own on its way up
// (net/punt_class.h), so that junk cannot starve an established BGP or ssh session, or the probe of a
// backend.
//
// Theory of operation. The kernel's frames pass through a worker, which notes them here; each worker looks
// here where it punts. A flow's two directions have one keyed hash (its end points in order), which names a
// bucket of eight entries, one cache line, and a tag of 32 bits. An entry is the tag and the tick at which it
// ends.
//
// Nobody comes in unasked. What the kernel says to anybody is not noted: SYN-ACK, RST, ICMP, and UDP from
// ports below the kernel's ephemeral ones (net.ipv4.ip_local_port_range), where servers answer whatever
// source a datagram claims. Without the key, which is random at each start, nobody can aim at a bucket. Full:
// the entry that ends first makes room, so short flows (probes, once the kernel has sent its FIN) go before
// long ones. An entry that is lost costs a flow its priority until the kernel's next packet, nothing else.
//
// Threads. note_sent() belongs to the worker that sends the port's frames, is_known() and was_asked() to
// any. Entries are single relaxed words, never modified in place by two steps: two workers (of two ports)
// that meet in one entry lose one of two notes.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "dataplane/net/aes_hash.h"
#include "dataplane/net/family.h"
#include "dataplane/net/parse_headers.h"
#include "dataplane/state/flow_clock.h"

namespace weir {

class HostFlows {
  public:
    static constexpr std::size_t kEntries = 65'536;
    // How long a flow counts as talking after the kernel's last packet. BGP says something every 60 s unless
    // told otherwise; DNS and NTP answer at once.
    static constexpr TickCount kTcpTicks = 300 * kTicksPerSecond, kUdpTicks = 30 * kTicksPerSecond,
                               kOpeningTicks = 30 * kTicksPerSecond, kClosingTicks = 10 * kTicksPerSecond,
                               kNeighborTicks = 300 * kTicksPerSecond;
    static constexpr std::uint16_t kFirstEphemeralPort = 32'768;  // Linux's default

    // 512 KiB, zeroed. Control core.
    explicit HostFlows(const HashKey& key) : key_(key), buckets_(std::make_unique<Bucket[]>(kBuckets)) {}

    // A frame that the kernel sends, from its Ethernet header on; any bytes at all.
    void note_sent(const PacketBytes& frame, Tick now) noexcept;

    // The flow of a packet that has come in. Precondition: check_l4 passed.
    template <class F>
    [[nodiscard]] bool is_known(const PacketBytes& packet, const L4Location& l4, Tick now) const noexcept {
        return has(hash_of(flow_blocks_of(packet, l4, F{}).key()), now);
    }
    // The kernel has asked for this address by ARP or neighbour solicitation.
    [[nodiscard]] bool was_asked(Ipv4Address neighbor, Tick now) const noexcept {
        return has(hash_of_neighbor<FlowKeyV4>(neighbor), now);
    }
    [[nodiscard]] bool was_asked(const Ipv6Address& neighbor, Tick now) const noexcept {
        return has(hash_of_neighbor<FlowKeyV6>(neighbor), now);
    }

  private:
    // What the kernel has sent, and for how long it counts.
    struct Note {
        TickCount ticks = 0;  // 0: it does not
        bool opens = false, closes = false;
    };
    static constexpr std::size_t kSlots = 8, kBuckets = kEntries / kSlots;
    // Tag in the upper half, the tick of the end in the lower one, whose lowest bit says instead that the
    // kernel has closed the flow. 0: empty.
    struct alignas(64) Bucket {
        std::array<std::atomic<std::uint64_t>, kSlots> entries{};
    };
    static_assert(sizeof(Bucket) == 64);

    template <class Key>
    [[nodiscard]] std::uint64_t hash_of(Key key) const noexcept;
    template <class Key, class Address>
    [[nodiscard]] std::uint64_t hash_of_neighbor(const Address& neighbor) const noexcept;
    [[nodiscard]] bool has(std::uint64_t hash, Tick now) const noexcept;
    void put(std::uint64_t hash, Tick now, Note note) noexcept;
    [[nodiscard]] static Note note_of_tcp(std::uint8_t flags) noexcept;
    template <class F>
    void note_packet(PacketBytes packet, Tick now) noexcept;
    [[nodiscard]] Bucket& bucket_of(std::uint64_t hash) const noexcept { return buckets_[hash % kBuckets]; }

    HashKey key_;
    std::unique_ptr<Bucket[]> buckets_;
};

}  // namespace weir
