// A port's twin in the kernel: what it is given, what becomes of the file's routes and neighbours, what goes
// wrong, and that it vanishes with its process. Root only, in a network namespace of its own.
#include "drivers/host_tap.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <csignal>
#include <cstring>
#include <functional>

#include "drivers/netlink.h"
#include "tests/drivers/own_network.h"
#include "tests/drivers/says.h"

namespace weir::test {
namespace {

constexpr MacBytes kMac{0x02, 0, 0, 0, 0, 0x31};
constexpr MacBytes kPeerMac{0x02, 0, 0, 0, 0, 0x32};

class HostTapTest : public ::testing::Test {
  protected:
    static void SetUpTestSuite() { enter_own_network(); }
    void SetUp() override {
        if (!is_root()) GTEST_SKIP() << "NOT TESTED: host interfaces need root (TAP, netlink); run as root";
    }
    static HostTapSpec spec() {
        return {.name = "twin0", .mac = kMac, .mtu = 1400, .addresses = {"10.9.0.1/24", "fd09::1/64"}};
    }
    // The kernel's own word for it lags behind the carrier by up to a second (net/core/link_watch.c).
    static bool becomes_running(const std::string& interface, bool running) {
        for (int tries = 0; tries < 150; ++tries, usleep(20'000))
            if (((ask(interface, SIOCGIFFLAGS).ifr_flags & IFF_RUNNING) != 0) == running) return true;
        return false;
    }
    // What opening says in a child that has been changed first.
    static std::string said_in_child(const std::function<void()>& change) {
        int pipe_ends[2];
        EXPECT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
        const pid_t child = fork();
        if (child == 0) {
            change();
            const auto opened = HostTap::open(spec());
            const std::string said = opened ? "it opened" : opened.error().message;
            _exit(write(pipe_ends[1], said.data(), said.size()) < 0 ? 1 : 0);
        }
        close(pipe_ends[1]);
        std::string said(4'096, '\0');
        const ssize_t length = read(pipe_ends[0], said.data(), said.size());
        close(pipe_ends[0]);
        waitpid(child, nullptr, 0);
        said.resize(length < 0 ? 0 : static_cast<std::size_t>(length));
        return said;
    }
};

TEST_F(HostTapTest, is_there_with_mac_mtu_and_addresses_and_vanishes_with_its_object) {
    {
        const auto twin = HostTap::open(spec());
        ASSERT_TRUE(twin) << twin.error().message;
        EXPECT_EQ(twin->index(), static_cast<int>(if_nametoindex("twin0")));
        EXPECT_TRUE(twin->notes().empty()) << twin->notes()[0];
        EXPECT_EQ(std::memcmp(ask("twin0", SIOCGIFHWADDR).ifr_hwaddr.sa_data, kMac.data(), kMac.size()), 0);
        EXPECT_EQ(ask("twin0", SIOCGIFMTU).ifr_mtu, 1400);
        EXPECT_NE(ask("twin0", SIOCGIFFLAGS).ifr_flags & IFF_UP, 0);
        EXPECT_TRUE(succeeds("ip addr show twin0 | grep 'inet 10.9.0.1/24'"));
        EXPECT_TRUE(succeeds("ip addr show twin0 | grep 'inet6 fd09::1/64'"));
        EXPECT_EQ(ipv4_setting("twin0", "rp_filter"), 0);
        EXPECT_EQ(ipv4_setting("twin0", "arp_ignore"), 1);
    }
    EXPECT_EQ(if_nametoindex("twin0"), 0u);
}

TEST_F(HostTapTest, an_ipv6_address_serves_at_once) {
    const auto twin = HostTap::open(spec());
    ASSERT_TRUE(twin) << twin.error().message;
    const int udp = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    inet_pton(AF_INET6, "fd09::1", &address.sin6_addr);
    EXPECT_EQ(bind(udp, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0) << std::strerror(errno);
    close(udp);
}

TEST_F(HostTapTest, an_ipv6_address_serves_where_ipv6_is_disabled_by_default) {
    std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << 1;
    const auto twin = HostTap::open(spec());
    std::ofstream("/proc/sys/net/ipv6/conf/default/disable_ipv6") << 0;
    ASSERT_TRUE(twin) << twin.error().message;
    EXPECT_TRUE(succeeds("ip addr show twin0 | grep 'inet6 fd09::1/64'"));
}

TEST_F(HostTapTest, carrier_and_mtu_follow_the_port) {
    auto wanted = spec();
    wanted.carrier = false;
    auto twin = HostTap::open(wanted);
    ASSERT_TRUE(twin) << twin.error().message;
    EXPECT_TRUE(becomes_running("twin0", false));
    ASSERT_TRUE(twin->set_carrier(true));
    EXPECT_TRUE(becomes_running("twin0", true));
    ASSERT_TRUE(twin->set_carrier(false));
    EXPECT_TRUE(becomes_running("twin0", false));
    ASSERT_TRUE(twin->set_mtu(9'000));
    EXPECT_EQ(ask("twin0", SIOCGIFMTU).ifr_mtu, 9'000);
}

TEST_F(HostTapTest, routes_and_neighbours_of_the_file_are_the_kernels) {
    auto twin = HostTap::open(spec());
    ASSERT_TRUE(twin) << twin.error().message;
    shell(
        "ip link add wan0 type veth peer name other0 && ip addr add 10.8.0.1/24 dev wan0 && ip link set wan0 "
        "up && ip link set other0 up");
    shell("ip route add default via 10.8.0.254");
    const auto refused = twin->install(
        {{"0.0.0.0/0", "10.9.0.2"}, {"10.77.0.0/16", "10.200.0.1"}, {"2001:db8::/32", "fe80::2"}},
        {{"10.9.0.2", kPeerMac}, {"fd09::2", kPeerMac}});
    EXPECT_TRUE(refused.empty()) << refused[0];
    EXPECT_TRUE(
        succeeds("ip route show proto 87 | grep 'default via 10.9.0.2 dev twin0 metric 20000 onlink'"));
    EXPECT_TRUE(succeeds("ip route get 198.51.100.7 | grep 10.8.0.254")) << "the machine's own way out stays";
    EXPECT_TRUE(succeeds("ip route get 198.51.100.7 oif twin0 | grep 10.9.0.2"));
    EXPECT_TRUE(succeeds("ip route get 10.77.1.1 | grep 'via 10.200.0.1 dev twin0'"))
        << "on-link by a neighbour alone";
    EXPECT_TRUE(succeeds("ip -6 route get 2001:db8::1 | grep 'via fe80::2 dev twin0'"));
    EXPECT_TRUE(succeeds("ip neigh show dev twin0 | grep '10.9.0.2 lladdr 02:00:00:00:00:32 PERMANENT'"));
    EXPECT_TRUE(succeeds("ip neigh show dev twin0 | grep 'fd09::2 lladdr 02:00:00:00:00:32 PERMANENT'"));

    // As after a reload: one changed, the others gone.
    EXPECT_TRUE(twin->install({{"0.0.0.0/0", "10.9.0.3"}}, {{"10.9.0.2", kMac}}).empty());
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep 'default via 10.9.0.3 dev twin0'"));
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep 10.77"));
    EXPECT_FALSE(succeeds("ip -6 route show proto 87 | grep 2001:db8"));
    EXPECT_TRUE(succeeds("ip neigh show dev twin0 | grep '10.9.0.2 lladdr 02:00:00:00:00:31 PERMANENT'"));
    EXPECT_FALSE(succeeds("ip neigh show dev twin0 | grep fd09::2"));
    EXPECT_TRUE(succeeds("ip route show | grep 'default via 10.8.0.254'"));

    shell("ip link del wan0 && ip link del twin0");
    const auto gone = twin->install({{"10.78.0.0/16", "10.9.0.2"}}, {{"10.9.0.2", kMac}});
    ASSERT_EQ(gone.size(), 1u);
    EXPECT_TRUE(says(gone[0], {"host interface twin0", "add route 10.78.0.0/16 via 10.9.0.2"}));
}

TEST_F(HostTapTest, what_bears_a_mark_is_led_by_a_table_of_its_own) {
    auto twin = HostTap::open(spec());
    ASSERT_TRUE(twin) << twin.error().message;
    auto netlink = Netlink::open();
    ASSERT_TRUE(netlink) << netlink.error().message;
    constexpr std::uint32_t kTable = 77;
    const MarkRule v4{true, 0x1234'5678, kTable, 770}, v6{false, 0x1234'5678, kTable, 770};
    const auto refused = twin->install(
        {{"0.0.0.0/0", "169.254.77.1", kTable}, {"::/0", "fe80::77", kTable}, {"10.78.0.0/16", "10.9.0.2"}},
        {{"169.254.77.1", kPeerMac}, {"fe80::77", kPeerMac}});
    EXPECT_TRUE(refused.empty()) << refused[0];
    for (int twice = 0; twice < 2; ++twice)
        for (const MarkRule& rule : {v4, v6}) {
            const auto added = netlink->add_mark_rule(rule);
            EXPECT_TRUE(added) << added.error().message;
        }
    EXPECT_TRUE(succeeds("test $(ip rule show | grep -c '^770:.*fwmark 0x12345678 lookup 77') = 1"));
    EXPECT_TRUE(succeeds("test $(ip -6 rule show | grep -c '^770:.*fwmark 0x12345678 lookup 77') = 1"));
    EXPECT_TRUE(succeeds(
        "ip route get 203.0.113.10 mark 0x12345678 | grep 'via 169.254.77.1 dev twin0.*src 10.9.0.1'"));
    EXPECT_TRUE(
        succeeds("ip route get 2001:db8::10 mark 0x12345678 | grep 'via fe80::77 dev twin0.*src fd09::1'"));
    EXPECT_FALSE(succeeds("ip route get 203.0.113.10 | grep twin0")) << "nothing else is";
    EXPECT_FALSE(succeeds("ip route get 203.0.113.10 mark 0x12345679 | grep twin0"));

    shell("ip link set twin0 down");
    EXPECT_TRUE(twin->restore().empty());
    shell("ip link set twin0 up");
    EXPECT_TRUE(twin->restore().empty());
    EXPECT_TRUE(succeeds("ip route get 203.0.113.10 mark 0x12345678 | grep 169.254.77.1")) << "comes back";
    EXPECT_TRUE(succeeds("ip -6 route get 2001:db8::10 mark 0x12345678 | grep fe80::77"));

    // One of two equal prefixes goes, in its table alone.
    EXPECT_TRUE(twin->install({{"10.78.0.0/16", "10.9.0.2"}}, {}).empty());
    EXPECT_FALSE(succeeds("ip route show table 77 | grep ."));
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep 10.78.0.0/16"));
    for (int twice = 0; twice < 2; ++twice)
        for (const MarkRule& rule : {v4, v6}) {
            const auto removed = netlink->remove_mark_rule(rule);
            EXPECT_TRUE(removed) << removed.error().message;
        }
    EXPECT_FALSE(succeeds("(ip rule show; ip -6 rule show) | grep 0x12345678"));
}

TEST_F(HostTapTest, what_was_lost_while_it_was_down_comes_back) {
    auto twin = HostTap::open(spec());
    ASSERT_TRUE(twin) << twin.error().message;
    EXPECT_TRUE(twin->install({{"0.0.0.0/0", "10.9.0.2"}}, {{"10.9.0.2", kPeerMac}}).empty());
    shell("ip link set twin0 down");
    EXPECT_TRUE(twin->restore().empty());
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep ."));
    shell("ip link set twin0 up");
    EXPECT_FALSE(succeeds("ip addr show twin0 | grep fd09::1/64")) << "the kernel forgets";
    EXPECT_TRUE(twin->restore().empty());
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep 'default via 10.9.0.2 dev twin0'"));
    EXPECT_TRUE(succeeds("ip neigh show dev twin0 | grep '10.9.0.2 lladdr 02:00:00:00:00:32 PERMANENT'"));
    EXPECT_TRUE(succeeds("ip addr show twin0 | grep fd09::1/64"));
    shell("ip route del default proto 87");
    EXPECT_TRUE(twin->restore().empty());
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep .")) << "what the operator takes away stays away";
}

TEST_F(HostTapTest, a_name_that_somebody_has_is_refused_in_a_sentence) {
    for (const char* kind :
         {"ip link add twin0 type veth peer name other0", "ip tuntap add twin0 mode tap"}) {
        shell(kind);
        const auto refused = HostTap::open(spec());
        ASSERT_FALSE(refused) << kind;
        EXPECT_TRUE(says(refused.error().message,
                         {"host interface twin0", "an interface of that name already", "host_interface"}));
        EXPECT_EQ(refused.error().cause, Error::Cause::operator_mistake);
        EXPECT_NE(if_nametoindex("twin0"), 0u) << "it is left alone";
        shell("ip link del twin0");
    }
}

TEST_F(HostTapTest, what_is_missing_is_named) {
    EXPECT_TRUE(says(said_in_child([] { EXPECT_EQ(setuid(65'534), 0); }),
                     {"host interface twin0", "not permitted", "NET_ADMIN", "\"none\""}));
    EXPECT_TRUE(says(said_in_child([] {
                         unshare(CLONE_NEWNS);
                         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr);
                         mount("none", "/dev/net", "tmpfs", 0, nullptr);
                     }),
                     {"host interface twin0", "/dev/net/tun cannot be opened", "modprobe tun", "\"none\""}));
}

TEST_F(HostTapTest, an_address_that_the_kernel_refuses_leaves_nothing_behind) {
    auto wanted = spec();
    wanted.addresses = {"10.9.0.1/24", "ff02::1/64"};
    const auto refused = HostTap::open(wanted);
    ASSERT_FALSE(refused);
    EXPECT_TRUE(says(refused.error().message, {"host interface twin0", "add address ff02::1/64"}));
    EXPECT_EQ(if_nametoindex("twin0"), 0u);
}

TEST_F(HostTapTest, settings_of_the_machine_that_hurt_are_spoken_of) {
    std::ofstream("/proc/sys/net/ipv4/conf/all/rp_filter") << 1;
    shell("ip link add wan0 type veth peer name other0 && ip addr add 10.9.0.1/24 dev wan0");
    {
        const auto twin = HostTap::open(spec());
        ASSERT_TRUE(twin) << twin.error().message;
        ASSERT_EQ(twin->notes().size(), 2u);
        EXPECT_TRUE(says(twin->notes()[0], {"twin0", "net.ipv4.conf.all.rp_filter = 1", "sysctl"}));
        EXPECT_TRUE(says(twin->notes()[1], {"10.9.0.1/24", "wan0", "remove it there"}));
    }
    std::ofstream("/proc/sys/net/ipv4/conf/all/rp_filter") << 0;
    shell("ip link del wan0");
}

TEST_F(HostTapTest, vanishes_when_its_process_is_killed) {
    int pipe_ends[2];
    ASSERT_EQ(pipe2(pipe_ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    if (child == 0) {
        auto twin = HostTap::open(spec());
        if (twin) (void)twin->install({{"0.0.0.0/0", "10.9.0.2"}}, {});
        if (write(pipe_ends[1], "x", 1) == 1) pause();
        _exit(1);
    }
    char ready = 0;
    ASSERT_EQ(read(pipe_ends[0], &ready, 1), 1);
    EXPECT_NE(if_nametoindex("twin0"), 0u);
    EXPECT_TRUE(succeeds("ip route show proto 87 | grep twin0"));
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    EXPECT_EQ(if_nametoindex("twin0"), 0u);
    EXPECT_FALSE(succeeds("ip route show proto 87 | grep ."));
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

}  // namespace
}  // namespace weir::test
