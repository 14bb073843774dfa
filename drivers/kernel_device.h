// Which device of DPDK's serves a kernel interface that is written alone (`device = "eth1"`): AF_XDP where it
// is fit, else AF_PACKET. The figures behind the rule: DECISIONS.md, 2026-11-27.
//
// AF_XDP (net_af_xdp) takes frames before the kernel makes anything of them, so it loses fewer, and it counts
// those that it loses. Its program knows one queue per socket, and hands what comes by another one to the
// kernel, where it is lost: so the interface must have one receive queue, and weir one worker. A VLAN tag
// that the kernel keeps beside the frame is not seen. A frame lies in one mbuf of one page. Anything that is
// on the interface already (another program) was put there by somebody.
//
// Main thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "drivers/device_name.h"

namespace weir {

// The AF_XDP device for an interface; the error is a clause: why there is none ("there are 2 workers").
[[nodiscard]] tl::expected<DeviceName, std::string> xdp_device(const std::string& interface,
                                                               std::uint16_t queues, std::uint16_t mtu,
                                                               std::uint16_t tag_bytes);

// Descriptors of AF_XDP sockets, BPF programs and maps that this process has and `others` does not name.
// libxdp 1.3.1 leaves some open when its device is closed: a socket, to which the interface's queue belongs
// for as long, and a map.
[[nodiscard]] std::vector<int> xdp_descriptors_beside(const std::vector<int>& others);
// Those of them that still are such.
void close_xdp_descriptors(const std::vector<int>& descriptors);

// The BPF libraries below net_af_xdp write to stderr whatever they think of the machine; weir says in a note
// what matters. For the process, where they are loaded.
void hush_bpf_libraries() noexcept;

// Of its pool, when it is full: fill and completion ring, and what the receive and transmit rings hold.
inline constexpr std::uint32_t kXdpHeldFrames = 2048 + 2048 + 2 * 1024;
// Between an mbuf's headroom and the frame (XDP_PACKET_HEADROOM).
inline constexpr std::uint16_t kXdpHeadroom = 256;
// A frame, that, the mbuf and DPDK's headers share a page of 4 KB.
inline constexpr std::uint16_t kMostXdpFrame = 3328;

}  // namespace weir
