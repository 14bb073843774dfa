// What a server must be told so that it takes what weir forwards to it, as a shell script for its root: the
// VIPs, silence about them, tunnel devices, GUE's port, segments that fit. And the script that takes it back.
//
// Theory of operation. In every mode of today the server gets packets to the VIP and answers the client
// itself, so it must hold the VIP and must not be heard about it. Where the VIP lives follows from how the
// packets come in:
//   dsr                  on lo
//   IPv4 in IPv4         on weir-ipip (type ipip)
//   IPv6 in IPv4         on weir-sit (type sit)
//   either in IPv6       on weir-ip6tnl (type ip6tnl, mode any: the kernel takes one device per local
//   address)
// On the tunnel's own device, because Linux drops what arrives on a device without an IPv4 address if
// rp_filter is not 0, and rp_filter is the larger of the device's and of conf.all's value, which is not
// weir's to lower. GUE needs no device of its own: the kernel strips UDP and GUE and hands the packet to the
// device that takes the same pair of families without them (net/ipv4/fou_core.c: gue_udp_recv).
//
// Devices are named after what they do and not after the pool: a server that is in several pools has one of
// each kind. What another backend of the same address needs is left alone by the undo script.
//
// Each command changes nothing where it has been run before. Pure functions; any thread.
#pragma once

#include <string>
#include <string_view>

#include "ctrl/config/config.h"
#include "drivers/result.h"

namespace weir {

// The scripts for backend `name`, "POOL/NAME". The precondition is that validate_config accepted the
// configuration. An error names what there is instead.
[[nodiscard]] Result<std::string> backend_setup_script(const Config& config, std::string_view name);
[[nodiscard]] Result<std::string> backend_undo_script(const Config& config, std::string_view name);

}  // namespace weir
