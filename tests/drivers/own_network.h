// A network namespace of the test process's own, which vanishes with it, however it ends. Root only.
#pragma once

#include <gtest/gtest.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace weir::test {

inline bool is_root() { return getuid() == 0; }

// Before EAL: its threads must be in the namespace too. Without root nothing happens.
inline void enter_own_network() {
    if (!is_root()) return;
    ASSERT_EQ(unshare(CLONE_NEWNET), 0) << "no network namespace of our own";
    ASSERT_EQ(std::system("ip link set lo up"), 0);
}

inline void shell(const std::string& command) {
    ASSERT_EQ(std::system((command + " 2>&1").c_str()), 0) << command;
}
inline bool succeeds(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
}

// Asked by ioctl: /sys shows the namespace it was mounted in, not ours.
inline ifreq ask(const std::string& interface, unsigned long question) {
    ifreq answer{};
    interface.copy(answer.ifr_name, IFNAMSIZ - 1);
    const int any_socket = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(ioctl(any_socket, question, &answer), 0) << interface;
    close(any_socket);
    return answer;
}
// What /proc/sys/net/ipv4/conf/<interface>/<setting> holds.
inline int ipv4_setting(const std::string& interface, const std::string& setting) {
    int value = -1;
    std::ifstream("/proc/sys/net/ipv4/conf/" + interface + "/" + setting) >> value;
    return value;
}

}  // namespace weir::test
