// SNAT ports against real sockets of this machine.
#include "ctrl/snat_range.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>

#include "tests/ctrl/config_builder.h"

namespace weir {
namespace {

constexpr std::uint16_t kFirst = 1'024, kLast = 9'999;

// Bound to a port between kFirst and kLast, or to none.
class Socket {
  public:
    Socket(int type, const IpAddress& address) : fd_(socket(address.is_v4() ? AF_INET : AF_INET6, type, 0)) {
        for (std::uint16_t port = kLast; port > kFirst && port_ == 0; --port)
            if (bind_to(address, port)) port_ = port;
        const bool listens = type != SOCK_STREAM || listen(fd_, 1) == 0;
        EXPECT_TRUE(listens);
    }
    ~Socket() { close(fd_); }
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    [[nodiscard]] std::uint16_t port() const { return port_; }

  private:
    bool bind_to(const IpAddress& address, std::uint16_t port) const {
        sockaddr_in v4{};
        sockaddr_in6 v6{};
        v4.sin_family = AF_INET;
        v6.sin6_family = AF_INET6;
        v4.sin_port = v6.sin6_port = htons(port);
        std::memcpy(&v4.sin_addr, address.bytes().data(), sizeof(v4.sin_addr));
        std::memcpy(&v6.sin6_addr, address.bytes().data(), sizeof(v6.sin6_addr));
        const auto* name = address.is_v4() ? static_cast<const void*>(&v4) : &v6;
        const socklen_t length = address.is_v4() ? sizeof(v4) : sizeof(v6);
        return bind(fd_, static_cast<const sockaddr*>(name), length) == 0;
    }
    int fd_;
    std::uint16_t port_ = 0;
};

Config config_of(std::string_view snat, L4PortRange range) {
    Config config = edge_config();
    config.ports[0].host_interface = "weir0";
    config.ports[0].snat.addresses = {ip(snat)};
    config.ports[0].snat.ports = range;
    return config;
}

std::string refusal(std::string_view snat, L4PortRange range) {
    const auto result = check_snat_ranges(config_of(snat, range));
    return result ? "" : result.error().message;
}

class SnatRangeTest : public testing::Test {
  protected:
    void SetUp() override {
        unsigned first = 0;
        std::ifstream("/proc/sys/net/ipv4/ip_local_port_range") >> first;
        if (first <= kLast) GTEST_SKIP() << "the kernel's own ports begin at " << first;
    }
};

TEST_F(SnatRangeTest, AServerThatListensEverywhereIsInTheWay) {
    for (const int type : {SOCK_STREAM, SOCK_DGRAM})
        for (const char* address : {"0.0.0.0", "::"}) {
            const Socket server(type, ip(address));
            ASSERT_NE(server.port(), 0);
            const std::string said = refusal("10.1.0.2", {server.port(), server.port()});
            EXPECT_NE(said.find(type == SOCK_STREAM ? "TCP port " : "UDP port "), std::string::npos) << said;
            EXPECT_NE(said.find(std::to_string(server.port()) + ", on which a server"), std::string::npos)
                << said;
            EXPECT_NE(said.find("every address"), std::string::npos) << said;
            EXPECT_EQ(refusal("10.1.0.2", {kFirst, static_cast<std::uint16_t>(server.port() - 1)})
                          .find(std::to_string(server.port()) + ", on which"),
                      std::string::npos);
        }
}

TEST_F(SnatRangeTest, AServerAtAnotherAddressIsNot) {
    const Socket server(SOCK_STREAM, ip("127.0.0.1"));
    ASSERT_NE(server.port(), 0);
    EXPECT_EQ(refusal("10.1.0.2", {server.port(), server.port()}), "");
    const std::string said = refusal("127.0.0.1", {server.port(), server.port()});
    EXPECT_NE(said.find("listens at 127.0.0.1"), std::string::npos) << said;
    const Socket server6(SOCK_DGRAM, ip("::1"));
    ASSERT_NE(server6.port(), 0);
    EXPECT_NE(refusal("::1", {server6.port(), server6.port()}).find("listens at ::1"), std::string::npos);
}

TEST_F(SnatRangeTest, TheKernelsOwnPortsAre) {
    EXPECT_NE(refusal("10.1.0.2", {32'768, 65'535}).find("ip_local_port_range"), std::string::npos);
    Config config = config_of("10.1.0.2", {32'768, 65'535});
    config.ports[0].host_interface.clear();
    EXPECT_TRUE(check_snat_ranges(config)) << "no kernel has the address";
}

}  // namespace
}  // namespace weir
