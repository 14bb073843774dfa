// What backends answer in mode nat: packets of a row's known flows, to the SNAT ports that weir gave them.
// Not part of what is timed.
//
// A SNAT port follows from nothing but the session, so each flow's stands in memory here: four bytes, of
// which the generator reads one line for each reply.
#pragma once

#include <rte_mbuf.h>

#include <vector>

#include "tests/bench/traffic.h"

namespace weir::bench {

class Replies {
  public:
    explicit Replies(const Row& row);

    // The first packet of the flow, as weir has sent it to its backend.
    void note(std::uint32_t flow, const rte_mbuf& translated);
    void write(const Traffic& traffic, rte_mbuf& packet, std::uint32_t flow, std::uint8_t tcp_flags) const;

  private:
    struct Session {
        std::uint16_t backend;
        Be16 snat_port;
    };
    Row row_;
    std::vector<IpAddress> backends_;
    IpAddress snat_;
    std::vector<Session> sessions_;  // by flow
};

}  // namespace weir::bench
