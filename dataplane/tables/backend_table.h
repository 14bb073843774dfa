// BackendId -> everything the packet path needs to send a packet to that backend: one or two cache lines with
// the new headers ready made.
//
// A backend may be reached in different modes by different services, so there is one BackendView per mode of
// a service; a record's own `mode` says what to do (a backend or pool may override the service's).
//
// Invariant: a BackendId means the same backend in every snapshot (dataplane/ids.h). A flow entry is honoured
// only while the record's pool is the pool of the packet's service, and it is ended only while the record's
// cut_pool is that: one comparison for a known flow, and none more because flows can be cut.
//
// Built by the control core (ctrl/tables/), immutable once published; read by any worker.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/ids.h"
#include "dataplane/net/address.h"
#include "dataplane/net/byte_order.h"
#include "dataplane/net/client_identity.h"
#include "dataplane/tables/forwarding_mode.h"

namespace weir {

enum class TrafficState : std::uint8_t {
    absent,    // no such backend, or dead: known flows are misses, the sweep removes them; may be probed
    serving,   // known flows pass, new ones come as the Maglev table says
    draining,  // removed, or of weight 0: known flows pass, no new ones
    cut,       // known flows are ended by a RST with their next packet (stages/cut.h), no new ones
};

// Which of rewrite's loops a packet to the backend goes through: the mode and, of a tunnel, the family of the
// outer header.
enum class RewritePath : std::uint8_t { dsr, ipip_v4, ipip_v6, gue_v4, gue_v6, nat };
inline constexpr std::size_t kRewritePaths = 6;

struct alignas(64) BackendRecord {
    PoolId pool = kNoPool;  // whose known flows pass: kNoPool exactly if the state is absent or cut
    TrafficState state = TrafficState::absent;
    ForwardingMode mode{};
    RewritePath path{};
    PortId egress{};
    bool resolved = false;  // a next hop's MAC is known
    // What must fit in front of the IP packet: `header` (Ethernet and, if tunnelled, the outer headers) and
    // the VLAN tags of the egress port.
    std::uint8_t header_length = 0;
    // Longest IP packet that, with the tunnel's headers, fits the egress port's MTU; 0 while not resolved.
    std::uint16_t max_packet_length = 0;
    std::uint32_t outer_sum = 0;  // one's-complement sum of the constant words of the outer checksum
    // Ethernet header, then the outer IP, UDP and GUE headers with every constant field filled in. Lengths,
    // TOS or class, DF and id, protocol, flow label, UDP source port and checksums are the packet's
    // (stages/rewrite_*.h).
    std::array<std::uint8_t, 108> header{};
    PoolId cut_pool = kNoPool;  // whose known flows are ended: kNoPool unless the state is cut
};
static_assert(sizeof(BackendRecord) == 128, "two cache lines, IPv4 modes touch only the first");
static_assert(offsetof(BackendRecord, header) == 16);

// Mode nat: what stands behind the Ethernet header in the place of a tunnel's headers.
struct NatTarget {
    std::array<std::uint8_t, 16> address;  // an IPv4 address in the first four bytes, zeros behind it
    BackendId id;
    Be16 port;  // 0: the one that the client has dialled
    ClientIdentity identity;
    Family family;

    static constexpr std::size_t kPlace = 14;  // in BackendRecord::header
    [[nodiscard]] static NatTarget of(const BackendRecord& record) noexcept {
        NatTarget target;
        std::memcpy(&target, record.header.data() + kPlace, sizeof(target));
        return target;
    }
    void put_in(BackendRecord& record) const noexcept {
        std::memcpy(record.header.data() + kPlace, this, sizeof(*this));
    }
};
static_assert(std::is_trivially_copyable_v<NatTarget> && sizeof(NatTarget) == 24);

inline constexpr std::uint32_t kBackendsPerChunk = 1024;
using BackendChunk = std::array<BackendRecord, kBackendsPerChunk>;

// All backends as one mode's services see them. Chunks are shared between snapshots as long as nothing in
// them changes. Total: an id that the world does not know has a record, an absent one.
class BackendView {
  public:
    BackendView() noexcept { direct_.fill(&kAbsent); }
    explicit BackendView(std::vector<std::shared_ptr<const BackendChunk>> chunks) : BackendView() {
        chunks_ = std::move(chunks);
        for (std::size_t i = 0; i < chunks_.size(); ++i) direct_[i] = chunks_[i].get();
    }
    // Precondition: the id has at most 20 bits, as all that an entry of the flow table can hold.
    [[nodiscard]] const BackendRecord& operator[](BackendId id) const noexcept {
        return (*direct_[index(id) / kBackendsPerChunk])[index(id) % kBackendsPerChunk];
    }
    [[nodiscard]] const std::vector<std::shared_ptr<const BackendChunk>>& chunks() const noexcept {
        return chunks_;
    }

  private:
    static constexpr std::size_t kChunks = (kMaxBackends + 1) / kBackendsPerChunk;
    static const BackendChunk kAbsent;

    std::array<const BackendChunk*, kChunks> direct_;
    std::vector<std::shared_ptr<const BackendChunk>> chunks_;
};
inline const BackendChunk BackendView::kAbsent{};

}  // namespace weir
