// Up to kBurstSize packets of one port, handled together, as parallel arrays: each stage walks one list of
// indices, reads what earlier stages wrote and writes its own columns. Lives on the worker's stack.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>

#include "dataplane/ids.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/net/family.h"
#include "dataplane/state/flow_bucket.h"
#include "dataplane/tables/backend_table.h"

namespace weir {

inline constexpr std::uint32_t kBurstSize = 64;  // docs/PERFORMANCE.md: 32 is 20 % slower at 1 M flows

// Positions within a burst.
class IndexList {
    // A byte of a type of its own: a store through unsigned char may change any object, and the compiler
    // would load everything again after each push.
    enum class Position : std::uint8_t {};

  public:
    class Iterator {
      public:
        explicit Iterator(const Position* at) noexcept : at_(at) {}
        std::uint32_t operator*() const noexcept { return static_cast<std::uint32_t>(*at_); }
        Iterator& operator++() noexcept {
            ++at_;
            return *this;
        }
        bool operator==(const Iterator&) const noexcept = default;

      private:
        const Position* at_;
    };

    void push(std::uint32_t i) noexcept { index_[count_++] = static_cast<Position>(i); }
    // Without a branch.
    void push_if(bool wanted, std::uint32_t i) noexcept {
        index_[count_] = static_cast<Position>(i);
        count_ += wanted ? 1 : 0;
    }
    [[nodiscard]] Iterator begin() const noexcept { return Iterator(index_.data()); }
    [[nodiscard]] Iterator end() const noexcept { return Iterator(index_.data() + count_); }
    [[nodiscard]] std::uint32_t size() const noexcept { return count_; }
    [[nodiscard]] std::uint32_t operator[](std::uint32_t n) const noexcept {
        return static_cast<std::uint32_t>(index_[n]);
    }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

  private:
    std::uint32_t count_ = 0;
    std::array<Position, kBurstSize + 1> index_;  // one more, for push_if
};

// A set of positions within a burst.
class IndexSet {
  public:
    void add(std::uint32_t i) noexcept { bits_ |= std::uint64_t{1} << i; }
    [[nodiscard]] bool has(std::uint32_t i) const noexcept { return (bits_ >> i & 1) != 0; }
    [[nodiscard]] bool empty() const noexcept { return bits_ == 0; }
    // In ascending order.
    template <class Visit>
    void for_each(Visit&& visit) const noexcept {
        for (std::uint64_t left = bits_; left != 0; left &= left - 1)
            visit(static_cast<std::uint32_t>(__builtin_ctzll(left)));
    }

  private:
    std::uint64_t bits_ = 0;
    static_assert(kBurstSize <= 64);
};

struct Burst {
    explicit Burst(PortId ingress) noexcept : port(ingress) {}

    PortId port;
    std::uint32_t size = 0;
    std::array<rte_mbuf*, kBurstSize> packet;

    // Every packet ends with one verdict: dropped, answered, punted, or else forwarded; but those handed
    // over, whose verdict is still to come.
    IndexSet dropped, answered, punted;
    std::array<DropReason, kBurstSize> reason;

    // parse: what weir may answer itself (ARP, ND; classify adds ICMP).
    IndexList local;
    // parse, classify, answer: what is the kernel's, on a port with a host interface.
    IndexList for_host;
    std::array<std::uint16_t, kBurstSize> ip_length;

    // classify: TCP and UDP packets that belong to a service.
    IndexList flows;
    std::array<Family, kBurstSize> family;
    std::array<std::uint64_t, kBurstSize> hash;  // under the flow table's key
    std::array<FlowBucket*, kBurstSize> bucket;  // the flow's first
    std::array<ServiceId, kBurstSize> service;
    std::array<std::uint16_t, kBurstSize> l4_offset;
    std::array<FlowEvent, kBurstSize> event;

    // classify: what may be a backend's reply (modes nat and dnat), TCP or UDP; l4_offset, event and family
    // are set.
    IndexList replies;

    // select_backend: packets whose flow is not in its first bucket; apart, those that begin a flow for which
    // there is no room; and the hash by which the pools of both would choose for them, or 0: not taken yet.
    IndexList missed, turned_away;
    std::array<std::uint64_t, kBurstSize> selection;

    // Positions whose choice was made elsewhere (a client's owner, a probe), and that choice: on a miss it
    // goes before the pool's table, unless the backend is not of the pool. kNoBackend: asked, and there is
    // none.
    IndexSet pinned;
    std::array<BackendId, kBurstSize> pin;
    void pin_to(std::uint32_t i, BackendId choice) noexcept {
        pinned.add(i);
        pin[i] = choice;
    }
    // sticky: packets of clients that other workers decide for, and whose they are; of them, those that are
    // on their way there: not this worker's any more, and without a verdict.
    IndexSet asked, handed_over;
    std::array<std::uint8_t, kBurstSize> owner;
    // The packets came from a worker's ring: counted as received, and for their services, when they came in.
    bool came_by_ring = false;
    // And this worker has the sessions of their clients (mode dnat): `pin` is what was chosen elsewhere.
    bool is_bound = false;

    // select_backend: packets by the loop of rewrite that they go through, and their backends.
    std::array<IndexList, 2 * kRewritePaths> selected;
    std::array<const BackendRecord*, kBurstSize> backend;
    std::uint32_t egress_ports = 0;  // bit p: some packet goes out of port p
    static_assert(kMaxPorts <= 32);

    [[gnu::cold]] void drop(std::uint32_t i, DropReason why) noexcept {
        dropped.add(i);
        reason[i] = why;
    }
    [[nodiscard]] static constexpr std::size_t list_of(RewritePath path, Family family) noexcept {
        return 2 * static_cast<std::size_t>(path) + (family == Family::v6 ? 1 : 0);
    }
    [[nodiscard]] IndexList& selected_for(RewritePath path, std::uint32_t i) noexcept {
        return selected[list_of(path, family[i])];
    }
    [[nodiscard]] IpProtocol protocol(std::uint32_t i) const noexcept {
        return event[i] == FlowEvent::datagram ? IpProtocol::udp : IpProtocol::tcp;
    }
};

}  // namespace weir
