// Up to kBurstSize packets of one port, handled together, as parallel arrays: each stage walks one list of
// indices, reads what earlier stages wrote and writes its own columns. Lives on the worker's stack.
#pragma once

#include <rte_mbuf.h>

#include <array>
#include <cstdint>
#include <cstring>

#include "dataplane/ids.h"
#include "dataplane/net/drop_reason.h"
#include "dataplane/net/family.h"
#include "dataplane/net/flow_key.h"
#include "dataplane/tables/backend_table.h"

namespace weir {

inline constexpr std::uint32_t kBurstSize = 32;

// Positions within a burst, in arrival order.
class IndexList {
  public:
    void push(std::uint32_t i) noexcept { index_[count_++] = static_cast<std::uint8_t>(i); }
    [[nodiscard]] const std::uint8_t* begin() const noexcept { return index_.data(); }
    [[nodiscard]] const std::uint8_t* end() const noexcept { return index_.data() + count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

  private:
    std::uint32_t count_ = 0;
    std::array<std::uint8_t, kBurstSize> index_;
};

enum class Verdict : std::uint8_t { pending, forward, answer, drop };

struct Burst {
    explicit Burst(PortId ingress) noexcept : port(ingress) {}

    PortId port;
    std::uint32_t size = 0;
    std::array<rte_mbuf*, kBurstSize> packet;

    // Every packet ends with one verdict (pipeline.cc asserts it).
    std::array<Verdict, kBurstSize> verdict{};
    std::array<DropReason, kBurstSize> reason;

    // parse: IP packets by family, and what weir may answer itself (ARP, ND).
    IndexList v4, v6, local;
    std::array<std::uint16_t, kBurstSize> ip_length;

    // classify: TCP and UDP packets that belong to a service.
    IndexList flows_v4, flows_v6;
    union Key {
        FlowKeyV4 v4;
        FlowKeyV6 v6;
    };
    std::array<Key, kBurstSize> key;
    std::array<std::uint64_t, kBurstSize> hash;  // under the flow table's key
    std::array<ServiceId, kBurstSize> service;
    std::array<std::uint16_t, kBurstSize> l4_offset;
    std::array<std::uint8_t, kBurstSize> tcp_flags;

    // select_backend
    IndexList selected_v4, selected_v6;
    std::array<const BackendRecord*, kBurstSize> backend;
    std::array<BackendId, kBurstSize> backend_id;

    void drop(std::uint32_t i, DropReason why) noexcept {
        verdict[i] = Verdict::drop;
        reason[i] = why;
    }
    template <class Family>
    [[nodiscard]] auto& key_of(std::uint32_t i) noexcept {
        return key_in<Family>(key[i]);
    }
    template <class Family>
    [[nodiscard]] const auto& key_of(std::uint32_t i) const noexcept {
        return key_in<Family>(key[i]);
    }

  private:
    template <class Family>
    static auto& key_in(auto& key) noexcept {
        if constexpr (Family::kFamily == weir::Family::v4)
            return key.v4;
        else
            return key.v6;
    }
};

}  // namespace weir
