// The XDP program of a kernel interface: net_af_xdp's goes onto the interface and sees every frame before the
// kernel, nftables included, does.
//
// Any thread; NET_ADMIN to remove one. Of the network namespace that the calling thread is in.
#pragma once

#include <string>

namespace weir {

// Anybody's, in whatever mode. False also where there is no such interface.
[[nodiscard]] bool has_xdp_program(const std::string& interface);
// True if there is none afterwards. One that is held by a bpf_link stays: it goes with whoever has that.
bool remove_xdp_program(const std::string& interface);

}  // namespace weir
