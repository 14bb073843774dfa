#include "drivers/interface_state.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/ethtool.h>
#include <linux/if_addr.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <rte_ether.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <fstream>
#include <sstream>

#include "drivers/xdp_program.h"

namespace weir {
namespace {

// As the kernel has it (linux/ipv6.h, which does not go together with netinet/in.h).
struct Ipv6Request {
    in6_addr address;
    std::uint32_t prefix_length;
    int interface;
};

// One question to the kernel about one interface.
class Question {
  public:
    explicit Question(const std::string& interface, int family = AF_INET)
        : socket_(socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
        interface.copy(request.ifr_name, IFNAMSIZ - 1);
    }
    Question(const Question&) = delete;
    Question& operator=(const Question&) = delete;
    ~Question() {
        if (socket_ >= 0) close(socket_);
    }
    bool ask(unsigned long what) { return ask(what, &request); }
    bool ask(unsigned long what, void* argument) const { return ioctl(socket_, what, argument) == 0; }
    ifreq request{};

  private:
    int socket_;
};

struct Feature {
    const char* word;
    std::uint32_t get, set;
    std::uint32_t flag;  // of ETHTOOL_GFLAGS; 0: a value of its own
};
// In the order in which they can be switched on: TSO needs the checksum and scattering.
constexpr std::array<Feature, 5> kFeatures = {{{"tx", ETHTOOL_GTXCSUM, ETHTOOL_STXCSUM, 0},
                                               {"gso", ETHTOOL_GGSO, ETHTOOL_SGSO, 0},
                                               {"tso", ETHTOOL_GTSO, ETHTOOL_STSO, 0},
                                               {"gro", ETHTOOL_GGRO, ETHTOOL_SGRO, 0},
                                               {"lro", ETHTOOL_GFLAGS, ETHTOOL_SFLAGS, ETH_FLAG_LRO}}};

bool ethtool(const std::string& interface, ethtool_value& value) {
    Question question(interface);
    question.request.ifr_data = reinterpret_cast<char*>(&value);
    return question.ask(SIOCETHTOOL);
}

bool is_on(const std::string& interface, const Feature& feature) {
    ethtool_value value{feature.get, 0};
    if (!ethtool(interface, value)) return false;
    return (feature.flag == 0 ? value.data : value.data & feature.flag) != 0;
}

bool switch_feature(const std::string& interface, const Feature& feature, bool on) {
    ethtool_value value{feature.get, 0};
    if (!ethtool(interface, value)) return false;
    value.cmd = feature.set;
    if (feature.flag == 0)
        value.data = on ? 1 : 0;
    else
        value.data = on ? value.data | feature.flag : value.data & ~feature.flag;
    return ethtool(interface, value);
}

std::string ipv6_switch(const std::string& interface) {
    return "/proc/sys/net/ipv6/conf/" + interface + "/disable_ipv6";
}

bool has_ipv6(const std::string& interface) {
    std::ifstream file(ipv6_switch(interface));
    return file.get() == '0';
}

bool switch_ipv6(const std::string& interface, bool on) {
    std::ofstream file(ipv6_switch(interface));
    file << (on ? 0 : 1) << std::flush;
    return file.good();
}

// Addresses that the operator gave, which go when IPv6 goes; autoconfigured ones come again by themselves.
std::vector<std::string> lasting_ipv6_addresses(const std::string& interface) {
    std::vector<std::string> addresses;
    std::ifstream file("/proc/net/if_inet6");
    for (std::string line; std::getline(file, line);) {
        std::istringstream fields(line);
        std::string digits, name;
        unsigned index = 0, length = 0, scope = 0, flags = 0;
        fields >> digits >> std::hex >> index >> length >> scope >> flags >> name;
        constexpr unsigned kLinkLocal = 0x20;
        if (name != interface || scope == kLinkLocal || (flags & IFA_F_PERMANENT) == 0 || digits.size() != 32)
            continue;
        in6_addr address{};
        for (std::size_t i = 0; i < 16; ++i)
            std::from_chars(&digits[2 * i], &digits[2 * i] + 2, address.s6_addr[i], 16);
        char text[INET6_ADDRSTRLEN];
        inet_ntop(AF_INET6, &address, text, sizeof(text));
        addresses.push_back(std::string(text) + "/" + std::to_string(length));
    }
    return addresses;
}

bool add_ipv6_address(const std::string& interface, const std::string& prefix) {
    const std::size_t slash = prefix.find('/');
    Ipv6Request request{};
    if (slash == std::string::npos ||
        inet_pton(AF_INET6, prefix.substr(0, slash).c_str(), &request.address) != 1)
        return false;
    std::from_chars(prefix.data() + slash + 1, prefix.data() + prefix.size(), request.prefix_length);
    request.interface = static_cast<int>(if_nametoindex(interface.c_str()));
    return Question(interface, AF_INET6).ask(SIOCSIFADDR, &request) || errno == EEXIST;
}

bool set_flag(const std::string& interface, int flag, bool on) {
    Question question(interface);
    if (!question.ask(SIOCGIFFLAGS)) return false;
    const auto flags = static_cast<unsigned short>(question.request.ifr_flags);
    question.request.ifr_flags = static_cast<short>(on ? flags | flag : flags & ~flag);
    return question.ask(SIOCSIFFLAGS);
}

bool set_mtu(const std::string& interface, const std::string& mtu) {
    Question question(interface);
    std::from_chars(mtu.data(), mtu.data() + mtu.size(), question.request.ifr_mtu);
    return question.ask(SIOCSIFMTU);
}

bool set_mac(const std::string& interface, const std::string& mac) {
    Question question(interface);
    rte_ether_addr wanted{};
    if (rte_ether_unformat_addr(mac.c_str(), &wanted) != 0 || !question.ask(SIOCGIFHWADDR)) return false;
    if (std::memcmp(question.request.ifr_hwaddr.sa_data, wanted.addr_bytes, sizeof(wanted)) == 0) return true;
    std::memcpy(question.request.ifr_hwaddr.sa_data, wanted.addr_bytes, sizeof(wanted));
    return question.ask(SIOCSIFHWADDR);
}

}  // namespace

std::vector<std::string> undo_words(const std::string& interface) {
    std::vector<std::string> words;
    Question question(interface);
    if (!question.ask(SIOCGIFFLAGS)) return words;
    const bool up = (question.request.ifr_flags & IFF_UP) != 0;
    const bool promiscuous = (question.request.ifr_flags & IFF_PROMISC) != 0;
    for (const Feature& feature : kFeatures)
        if (is_on(interface, feature)) words.push_back(std::string(feature.word) + " on");
    if (has_ipv6(interface)) {
        words.emplace_back("ipv6 on");
        for (const std::string& address : lasting_ipv6_addresses(interface))
            words.push_back("address " + address);
    }
    if (question.ask(SIOCGIFMTU)) words.push_back("mtu " + std::to_string(question.request.ifr_mtu));
    if (question.ask(SIOCGIFHWADDR)) {
        char text[RTE_ETHER_ADDR_FMT_SIZE];
        rte_ether_addr mac;
        std::memcpy(mac.addr_bytes, question.request.ifr_hwaddr.sa_data, sizeof(mac));
        rte_ether_format_addr(text, sizeof(text), &mac);
        words.push_back(std::string("mac ") + text);
    }
    if (!has_xdp_program(interface)) words.emplace_back("xdp off");
    if (!promiscuous) words.emplace_back("promisc off");
    if (!up) words.emplace_back("down");
    return words;
}

void quiet(const std::string& interface) {
    switch_ipv6(interface, false);
    // From the last to the first: what needs another goes before it.
    for (std::size_t i = kFeatures.size(); i-- > 0;)
        if (is_on(interface, kFeatures[i])) switch_feature(interface, kFeatures[i], false);
    set_flag(interface, IFF_UP, true);
}

bool apply_word(const std::string& interface, const std::string& word) {
    for (const Feature& feature : kFeatures)
        if (word == std::string(feature.word) + " on") return switch_feature(interface, feature, true);
    if (word == "ipv6 on") return switch_ipv6(interface, true);
    if (word == "xdp off") return remove_xdp_program(interface);
    if (word == "promisc off") return set_flag(interface, IFF_PROMISC, false);
    if (word == "down") return set_flag(interface, IFF_UP, false);
    const std::size_t space = std::min(word.find(' '), word.size());
    const std::string what = word.substr(0, space), value = word.substr(std::min(space + 1, word.size()));
    if (what == "address") return add_ipv6_address(interface, value);
    if (what == "mtu") return set_mtu(interface, value);
    return what == "mac" && set_mac(interface, value);
}

std::vector<std::string> kernel_addresses(const std::string& interface) {
    std::vector<std::string> found;
    ifaddrs* all = nullptr;
    if (getifaddrs(&all) != 0) return found;
    for (const ifaddrs* entry = all; entry != nullptr; entry = entry->ifa_next) {
        if (interface != entry->ifa_name || entry->ifa_addr == nullptr || entry->ifa_netmask == nullptr ||
            entry->ifa_addr->sa_family != AF_INET)
            continue;
        const auto& address = *reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
        const auto& mask = *reinterpret_cast<const sockaddr_in*>(entry->ifa_netmask);
        char text[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &address.sin_addr, text, sizeof(text));
        found.push_back(std::string(text) + "/" + std::to_string(std::popcount(mask.sin_addr.s_addr)));
    }
    freeifaddrs(all);
    for (std::string& address : lasting_ipv6_addresses(interface)) found.push_back(std::move(address));
    return found;
}

}  // namespace weir
