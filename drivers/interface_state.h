// What weir changes on a kernel interface that it takes over, as words that change it back.
//
//   "tx on" "gso on" "tso on" "gro on" "lro on"   ethtool's features
//   "ipv6 on", "address 2001:db8::1/64"           net.ipv6.conf.<interface>.disable_ipv6 = 0; its cost
//   "mtu 1500", "mac 02:00:00:00:00:01", "down"
//   "xdp off", "promisc off"                      what a device leaves there when weir is killed
//
// Any thread; NET_ADMIN to change something. Of the network namespace that the calling thread is in.
#pragma once

#include <string>
#include <vector>

namespace weir {

// The words for what is now, of all that quiet() and a port may change. Empty: no such interface.
[[nodiscard]] std::vector<std::string> undo_words(const std::string& interface);
// Features and IPv6 off, the interface up. What the device cannot change stays as it is.
void quiet(const std::string& interface);
// Does as the word says. False: refused, or no word of these.
bool apply_word(const std::string& interface, const std::string& word);
// Of either family, "10.0.0.1/24"; link-local ones are left out.
[[nodiscard]] std::vector<std::string> kernel_addresses(const std::string& interface);

}  // namespace weir
