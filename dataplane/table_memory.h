// A worker's tables side by side in one piece of memory: how much they take, and where each lies. Whoever
// makes a worker (the appliance, the replay) allocates that and hands out the parts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "dataplane/state/flow_table.h"
#include "dataplane/state/session_table.h"
#include "dataplane/state/sticky_table.h"

namespace weir {

// Entries that each has room for. 0 clients or sessions: there is no such table.
struct TableSizes {
    std::uint64_t flows, clients, sessions;
};

struct TableMemory {
    std::span<std::byte> flows, clients, sessions;

    [[nodiscard]] static std::size_t bytes_for(const TableSizes& sizes) noexcept {
        return flow_bytes(sizes) + client_bytes(sizes) + SessionTable::bytes_for(sizes.sessions);
    }
    // `memory`: bytes_for(sizes) of them at least, zeroed, aligned to 64.
    [[nodiscard]] static TableMemory in(std::span<std::byte> memory, const TableSizes& sizes) noexcept {
        const std::size_t behind_flows = flow_bytes(sizes),
                          behind_clients = behind_flows + client_bytes(sizes);
        return {memory.first(behind_flows), memory.subspan(behind_flows, client_bytes(sizes)),
                memory.subspan(behind_clients, SessionTable::bytes_for(sizes.sessions))};
    }

  private:
    // Whole buckets of 64 bytes, so that what follows is aligned too.
    static std::size_t flow_bytes(const TableSizes& sizes) noexcept {
        return FlowTable::bytes_for(sizes.flows);
    }
    static std::size_t client_bytes(const TableSizes& sizes) noexcept {
        return sizes.clients == 0 ? 0 : StickyTable::bytes_for(sizes.clients);
    }
};

}  // namespace weir
