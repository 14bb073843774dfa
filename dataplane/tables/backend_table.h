// BackendId -> everything the packet path needs to send a packet to that backend: one or two cache lines with
// the new headers ready made.
//
// A backend may be reached in different modes by different services, so there is one BackendView per mode of
// a service; a record's own `mode` says what to do (a backend or pool may override the service's).
//
// Invariant: a BackendId means the same backend in every snapshot (dataplane/ids.h). A flow entry is honoured
// only while the record's pool is the pool of the packet's service and its state lets known flows pass.
//
// Built by the control core (ctrl/tables/), immutable once published; read by any worker.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"
#include "dataplane/tables/forwarding_mode.h"

namespace weir {

enum class TrafficState : std::uint8_t {
    absent,    // no such backend, or dead: known flows are misses, the sweep removes them
    serving,   // known flows pass, new ones come as the Maglev table says
    draining,  // removed, or of weight 0: known flows pass, no new ones
};

struct alignas(64) BackendRecord {
    PoolId pool;
    TrafficState state;
    ForwardingMode mode;
    Family outer_family;
    PortId egress;
    bool resolved;                // a next hop's MAC is known
    std::uint8_t header_length;   // of `header`: Ethernet and, if tunnelled, the outer headers
    std::uint16_t max_ip_length;  // longest IP packet (outer, if tunnelled) that fits the egress port's MTU
    std::uint32_t outer_sum;      // one's-complement sum of the outer IPv4 header's constant words
    // Ethernet header, then the outer IP, UDP and GUE headers with every constant field filled in. Lengths,
    // TOS or class, DF and id, protocol, flow label, UDP source port and checksums are the packet's
    // (stages/rewrite_*.h).
    std::array<std::uint8_t, 112> header;
};
static_assert(sizeof(BackendRecord) == 128, "two cache lines, IPv4 modes touch only the first");
static_assert(offsetof(BackendRecord, header) == 16);

inline constexpr std::uint32_t kBackendsPerChunk = 1024;
using BackendChunk = std::array<BackendRecord, kBackendsPerChunk>;

// All backends as one mode's services see them. Chunks are shared between snapshots as long as nothing in
// them changes.
class BackendView {
  public:
    BackendView() = default;
    explicit BackendView(std::vector<std::shared_ptr<const BackendChunk>> chunks)
        : chunks_(std::move(chunks)) {
        for (const auto& chunk : chunks_) direct_.push_back(chunk.get());
    }
    // Precondition: the id is below size().
    [[nodiscard]] const BackendRecord& operator[](BackendId id) const noexcept {
        return (*direct_[index(id) / kBackendsPerChunk])[index(id) % kBackendsPerChunk];
    }
    [[nodiscard]] std::size_t size() const noexcept { return direct_.size() * kBackendsPerChunk; }
    [[nodiscard]] const std::vector<std::shared_ptr<const BackendChunk>>& chunks() const noexcept {
        return chunks_;
    }

  private:
    std::vector<const BackendChunk*> direct_;
    std::vector<std::shared_ptr<const BackendChunk>> chunks_;
};

}  // namespace weir
