#include "drivers/port_events.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace weir {
namespace {

// Ends of names, one counter a queue: rx_q0_bad_req_id, tx_q3_prepare_ctx_err (DPDK 22.11,
// drivers/net/ena/ena_ethdev.c).
constexpr std::array<std::string_view, 3> kFatalCounters = {"_bad_req_id", "_bad_desc_num",
                                                            "_prepare_ctx_err"};

}  // namespace

PortEvents::PortEvents(std::uint16_t ethdev) : ethdev_(ethdev) {
    for (const auto event : {RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_LSC})
        rte_eth_dev_callback_register(ethdev_, event, on_event, this);
}

PortEvents::~PortEvents() {
    for (const auto event : {RTE_ETH_EVENT_INTR_RESET, RTE_ETH_EVENT_INTR_LSC})
        rte_eth_dev_callback_unregister(ethdev_, event, on_event, this);
}

int PortEvents::on_event(std::uint16_t, rte_eth_event_type event, void* events, void*) {
    auto& self = *static_cast<PortEvents*>(events);
    (event == RTE_ETH_EVENT_INTR_RESET ? self.reset_wanted_ : self.link_changed_).store(true);
    return 0;
}

void PortEvents::look_at(std::span<const std::pair<std::string, std::uint64_t>> nic_counters) {
    std::uint64_t errors = 0;
    for (const auto& [name, value] : nic_counters)
        if (std::ranges::any_of(kFatalCounters, [&](std::string_view end) { return name.ends_with(end); }))
            errors += value;
    if (looked_ && errors > errors_) reset_wanted_.store(true);
    looked_ = true;
    errors_ = errors;
}

}  // namespace weir
