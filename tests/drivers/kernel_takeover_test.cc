// An interface that weir takes from the kernel: first that the kernel does answer on it, then that it does
// not, then that it does again. Root only, in a network namespace of its own.
#include "drivers/kernel_takeover.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>

#include "drivers/interface_state.h"
#include "tests/ctrl/config_builder.h"
#include "tests/drivers/kernel_wire.h"
#include "tests/drivers/says.h"
#include "tests/support/packet_builder.h"

namespace weir::test {
namespace {

constexpr const char* kPeerMac = "02:00:00:00:00:fe";

class KernelTakeoverTest : public ::testing::Test {
  protected:
    static void SetUpTestSuite() {
        if (getuid() == 0) enter_own_network();
    }
    void SetUp() override {
        if (getuid() != 0) GTEST_SKIP() << "NOT TESTED: taking an interface needs root; run as root";
        shell("ip link add wire0 type veth peer name wire1");
        shell("ip link set wire0 address 02:00:00:00:00:01");
        shell("ip link set wire1 up && ip link set wire0 up");
        shell("ip address add 10.9.0.1/24 dev wire0");
        shell("ip address add 2001:db8:9::1/64 dev wire0 nodad");
        add_neighbors();
        before_ = undo_words("wire0");
        ASSERT_TRUE(has("gro on") || has("tso on")) << "a veth has offloads";
        ASSERT_TRUE(has("ipv6 on"));
        ASSERT_TRUE(has("address 2001:db8:9::1/64"));
    }
    void TearDown() override {
        if (getuid() == 0 && if_nametoindex("wire0") != 0) shell("ip link del wire0");
    }
    // The kernel forgets them when IPv6 is switched off or the interface is down.
    static void add_neighbors() {
        for (const char* peer : {"10.9.0.2", "2001:db8:9::2"})
            shell(std::string("ip neigh replace ") + peer + " lladdr " + kPeerMac + " dev wire0");
    }
    [[nodiscard]] bool has(const std::string& word) const {
        return std::ranges::find(before_, word) != before_.end();
    }
    // Frames of the kernel's end that come out of wire1 for an ARP request, pings and SYNs to a port that
    // nobody listens on.
    static std::size_t answers() {
        const RawSocket peer("wire1");
        usleep(50'000);
        peer.take_any();
        Link link;
        link.to = mac("02:00:00:00:00:01");
        link.from = mac(kPeerMac);
        peer.send(arp_request(ip("10.9.0.2"), ip("10.9.0.1")));
        peer.send(echo_request(ip("10.9.0.2"), ip("10.9.0.1"), 7, link));
        peer.send(echo_request(ip("2001:db8:9::2"), ip("2001:db8:9::1"), 7, link));
        for (const char* net : {"10.9.0.", "2001:db8:9::"}) {
            const std::string prefix = net;
            peer.send(tcp_frame({ip(prefix + "2"), ip(prefix + "1"), 4242, 81}, kSyn, 0, link));
        }
        usleep(100'000);
        return peer.take_any();
    }
    // An IPv6 address that comes back is first looked for on the link (RFC 4862 5.4).
    static bool answers_again() {
        add_neighbors();
        for (int tries = 0; tries < 50; ++tries)
            if (answers() >= 5) return true;
        return false;
    }
    static bool table_is_there() {
        return std::system("nft list table netdev weir_wire0 > /dev/null 2>&1") == 0;
    }

    std::vector<std::string> before_;
};

TEST_F(KernelTakeoverTest, the_kernel_answers_before_and_after_and_not_in_between) {
    ASSERT_GE(answers(), 5u) << "without weir the kernel answers each";
    {
        const auto taken = KernelTakeover::take("wire0");
        ASSERT_TRUE(taken) << taken.error().message;
        const RawSocket tap("wire0");
        EXPECT_EQ(answers(), 0u);
        EXPECT_GE(tap.take_any(), 5u) << "packet sockets see the frames all the same";
        for (const std::string& word : undo_words("wire0"))
            EXPECT_TRUE(word.starts_with("mtu") || word.starts_with("mac") || word == "xdp off" ||
                        word == "promisc off")
                << word << ": not switched off";
        EXPECT_TRUE(
            says((*taken)->notes().at(0), {"sees nothing of wire0", "nft delete table netdev weir_wire0"}));
        EXPECT_TRUE(says((*taken)->notes().at(1), {"10.9.0.1/24, 2001:db8:9::1/64", "wire0"}));
    }
    EXPECT_FALSE(table_is_there());
    EXPECT_EQ(undo_words("wire0"), before_);
    EXPECT_TRUE(answers_again());
}

TEST_F(KernelTakeoverTest, what_a_killed_weir_left_is_undone_by_the_next) {
    const pid_t child = fork();
    if (child == 0) {
        const auto taken = KernelTakeover::take("wire0");
        raise(taken ? SIGKILL : SIGTERM);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    EXPECT_TRUE(table_is_there());
    EXPECT_EQ(answers(), 0u);
    {
        const auto taken = KernelTakeover::take("wire0");
        ASSERT_TRUE(taken) << taken.error().message;
        EXPECT_TRUE(says((*taken)->notes().at(0), {"wire0 was left silenced by a weir that was killed"}));
        EXPECT_EQ(answers(), 0u);
    }
    EXPECT_FALSE(table_is_there());
    EXPECT_EQ(undo_words("wire0"), before_);
    EXPECT_TRUE(answers_again());
}

// Of net_af_packet and net_af_xdp, which set it by ioctl: it outlives them.
TEST_F(KernelTakeoverTest, promiscuous_mode_that_a_killed_weir_left_ends) {
    const pid_t child = fork();
    if (child == 0) {
        const auto taken = KernelTakeover::take("wire0");
        shell("ip link set wire0 promisc on");
        raise(taken ? SIGKILL : SIGTERM);
    }
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    EXPECT_EQ(KernelTakeover::take("wire0")->get()->notes().size(), 3u);
    EXPECT_EQ(undo_words("wire0"), before_);
}

TEST_F(KernelTakeoverTest, an_interface_belongs_to_one_weir_at_a_time) {
    const auto taken = KernelTakeover::take("wire0");
    ASSERT_TRUE(taken) << taken.error().message;
    const auto second = KernelTakeover::take("wire0");
    ASSERT_FALSE(second);
    EXPECT_TRUE(says(second.error().message, {"another weir", "wire0"}));
    EXPECT_EQ(answers(), 0u) << "the refusal has changed nothing";
}

TEST_F(KernelTakeoverTest, an_interface_that_was_down_or_is_gone_is_left_so) {
    shell("ip link set wire0 down");
    {
        const auto taken = KernelTakeover::take("wire0");
        ASSERT_TRUE(taken) << taken.error().message;
        const auto words = undo_words("wire0");
        EXPECT_EQ(std::ranges::find(words, "down"), words.end()) << "weir needs it up";
    }
    const auto words = undo_words("wire0");
    EXPECT_NE(std::ranges::find(words, "down"), words.end());
    {
        const auto taken = KernelTakeover::take("wire0");
        shell("ip link del wire0");
        shell("ip link add wire0 type veth peer name wire1");
        before_ = undo_words("wire0");
    }
    EXPECT_EQ(undo_words("wire0"), before_) << "another interface of the name";
    EXPECT_FALSE(table_is_there());
    EXPECT_TRUE(says(KernelTakeover::take("nowhere").error().message, {"no interface nowhere"}));
}

}  // namespace
}  // namespace weir::test
