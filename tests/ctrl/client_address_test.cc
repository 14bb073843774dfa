// client_address of a pool: read, and judged against the modes and protocols of its services.
#include "tests/ctrl/config_testing.h"

namespace weir {
namespace {

struct World {
    std::string pool = R"(backends = ( { name = "a"; address = "10.1.0.11"; } );)";
    std::string protocol = R"("tcp")";
    std::string forwarding = "nat";
};

ConfigResult read(const std::string& client_address, const World& world = {}) {
    std::string text;
    for (std::size_t line = 0; line < kGoodLines.size(); ++line) {
        if (line == 1)
            text +=
                R"(ports = ( { name = "edge"; device = "net_null0"; addresses = [ "10.1.0.2/24" ]; mtu = 1600;
                       snat = { addresses = [ "10.1.0.2" ]; }; } );)";
        else if (line == 4)
            text += R"(pools = ( { name = "web"; client_address = ")" + client_address + "\"; " + world.pool +
                    " } );";
        else if (line == 5)
            text +=
                R"(services = ( { name = "web"; vip = "203.0.113.10"; port = 80; pool = "web"; protocol = )" +
                world.protocol + "; forwarding = \"" + world.forwarding + "\"; } );";
        else
            text += kGoodLines[line];
        text += '\n';
    }
    return read_config_text(text, "a.cfg");
}

void expect_error(const ConfigResult& result, std::string_view words) {
    EXPECT_FALSE(result.config);
    EXPECT_EQ(errors_in(result), 1u) << all_text(result.diagnostics);
    EXPECT_NE(all_text(result.diagnostics).find(words), std::string::npos)
        << words << " in " << all_text(result.diagnostics);
}

TEST(ClientAddress, IsReadForTcpInModeNat) {
    for (std::size_t i = 0; i < kClientIdentityNames.size(); ++i) {
        const auto result = read(std::string(kClientIdentityNames[i]));
        ASSERT_TRUE(result.config) << all_text(result.diagnostics);
        EXPECT_TRUE(result.diagnostics.empty()) << all_text(result.diagnostics);
        EXPECT_EQ(result.config->pools[0].client_address, static_cast<ClientIdentity>(i));
    }
}

TEST(ClientAddress, OfDatagramsIsProxyV2Alone) {
    for (const char* protocol : {R"("udp")", R"([ "tcp", "udp" ])"}) {
        const World world{.protocol = protocol};
        EXPECT_TRUE(read("none", world).config);
        EXPECT_TRUE(read("proxy_v2", world).config);
        for (const char* other : {"proxy_v1", "toa"})
            expect_error(
                read(other, world),
                std::string("pool \"web\": client_address = \"") + other +
                    "\" is for TCP alone, and service \"web\" (a.cfg:7) takes UDP too; allowed for UDP: "
                    "\"proxy_v2\" or \"none\"");
    }
}

TEST(ClientAddress, MeansNothingWhereServersSeeTheClient) {
    for (const char* mode : {"dsr", "ipip", "gue"})
        expect_error(read("toa", {.forwarding = mode}),
                     std::string("client_address = \"toa\" means nothing in mode \"") + mode + "\"");
    EXPECT_TRUE(read("none", {.forwarding = "dsr"}).config);
    expect_error(read("toa", {.pool = "", .forwarding = "dsr"}),
                 "means nothing in mode \"dsr\" (service \"web\")");
    // The pool's mode wins over the service's, and a backend's over both.
    const std::string backends = R"(backends = ( { name = "a"; address = "10.1.0.11"; } );)";
    EXPECT_TRUE(read("toa", {.pool = "forwarding = \"nat\"; " + backends, .forwarding = "dsr"}).config);
    expect_error(read("toa", {.pool = R"(backends = ( { name = "a"; address = "10.1.0.11"; },
                                                      { name = "b"; address = "10.1.0.12"; forwarding = "ipip"; } );)"}),
                 "means nothing in mode \"ipip\" (service \"web\", backend \"b\")");
}

}  // namespace
}  // namespace weir
