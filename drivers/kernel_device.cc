#include "drivers/kernel_device.h"

#include <dlfcn.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netlink/route/link.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdarg>
#include <filesystem>
#include <string_view>

#include "drivers/xdp_program.h"

namespace weir {
namespace {

constexpr unsigned kEthernetHeader = 14;

// As many as the kernel has made; a driver without channels (ethtool -l) uses them all.
unsigned made_queues(const std::string& interface) {
    nl_sock* socket = nl_socket_alloc();
    rtnl_link* link = nullptr;
    unsigned queues = 0;
    if (socket != nullptr && nl_connect(socket, NETLINK_ROUTE) >= 0 &&
        rtnl_link_get_kernel(socket, 0, interface.c_str(), &link) >= 0) {
        queues = rtnl_link_get_num_rx_queues(link);
        rtnl_link_put(link);
    }
    nl_socket_free(socket);
    return queues;
}

// In use; 0: the kernel does not say.
unsigned receive_queues(const std::string& interface) {
    const int socket_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (socket_fd < 0) return 0;
    ethtool_channels channels{};
    channels.cmd = ETHTOOL_GCHANNELS;
    ifreq request{};
    interface.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_data = reinterpret_cast<char*>(&channels);
    const bool known = ioctl(socket_fd, SIOCETHTOOL, &request) == 0;
    close(socket_fd);
    const unsigned queues = channels.rx_count + channels.combined_count;
    return known && queues != 0 ? queues : made_queues(interface);
}

bool is_of_xdp(int descriptor) {
    int domain = 0;
    socklen_t size = sizeof(domain);
    if (getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0) return domain == AF_XDP;
    std::array<char, 64> what{};
    const std::string name = "/proc/self/fd/" + std::to_string(descriptor);
    constexpr std::string_view kBpf = "anon_inode:bpf";
    return readlink(name.c_str(), what.data(), what.size() - 1) > 0 &&
           std::string_view(what.data()).starts_with(kBpf);
}

// libbpf_set_print, libxdp_set_print: null is for silence.
void hush(const char* library, const char* setter) noexcept {
    void* loaded = dlopen(library, RTLD_NOW | RTLD_NOLOAD);
    if (loaded == nullptr) return;
    using Print = int (*)(int, const char*, va_list);
    if (void* set = dlsym(loaded, setter); set != nullptr)
        (void)reinterpret_cast<Print (*)(Print)>(set)(nullptr);
    dlclose(loaded);
}

}  // namespace

std::vector<int> xdp_descriptors_beside(const std::vector<int>& others) {
    std::vector<int> found;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
        const std::string name = entry.path().filename();
        int descriptor = -1;
        std::from_chars(name.data(), name.data() + name.size(), descriptor);
        if (is_of_xdp(descriptor) && std::ranges::find(others, descriptor) == others.end())
            found.push_back(descriptor);
    }
    return found;
}

void close_xdp_descriptors(const std::vector<int>& descriptors) {
    for (const int descriptor : descriptors)
        if (is_of_xdp(descriptor)) close(descriptor);
}

void hush_bpf_libraries() noexcept {
    hush("libbpf.so.1", "libbpf_set_print");
    hush("libxdp.so.1", "libxdp_set_print");
}

tl::expected<DeviceName, std::string> xdp_device(const std::string& interface, std::uint16_t queues,
                                                 std::uint16_t mtu, std::uint16_t tag_bytes) {
    const auto no = [](std::string why) { return tl::make_unexpected(std::move(why)); };
    if (queues != 1) return no("there are " + std::to_string(queues) + " workers");
    if (tag_bytes != 0) return no("VLANs lie on it");
    if (mtu + kEthernetHeader > kMostXdpFrame)
        return no("an mtu of " + std::to_string(mtu) + " does not fit a page");
    if (const unsigned there = receive_queues(interface); there != 1)
        return no("it has " + std::to_string(there) + " receive queues (`ethtool -L " + interface +
                  " combined 1` where the driver takes it)");
    if (has_xdp_program(interface)) return no("another XDP program is on it");
    DeviceName device;
    device.name = "net_af_xdp_" + interface;
    device.takes_over = true;
    // Zero copy could make a receive wait for up to a second (the driver's poll), and has not been run; a
    // busy poll is a system call for each receive that finds nothing.
    return device.with("iface", interface).with("force_copy", "1").with("busy_budget", "0");
}

}  // namespace weir
