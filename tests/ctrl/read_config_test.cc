// read_config and read_config_text: what a good configuration becomes, what is only a warning, files that are
// none, @include, many mistakes at once.
#include "ctrl/config/read_config.h"

#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <utility>

#include "ctrl/commands/check_command.h"
#include "ctrl/config/devices.h"
#include "dataplane/net/address_text.h"
#include "tests/ctrl/config_testing.h"
#include "tests/support/sanitized.h"

namespace weir {
namespace {

void expect_one_error(const ConfigResult& result, unsigned line, std::string_view words) {
    EXPECT_FALSE(result.config);
    ASSERT_EQ(errors_in(result), 1u) << all_text(result.diagnostics);
    EXPECT_EQ(result.diagnostics[0].where.line, line);
    EXPECT_NE(result.diagnostics[0].message.find(words), std::string::npos) << all_text(result.diagnostics);
}

TEST(ReadConfig, GivesThePlainValue) {
    const ConfigResult result = read_config_text(good_text_but(), "a.cfg");
    ASSERT_TRUE(result.config) << all_text(result.diagnostics);
    EXPECT_TRUE(result.diagnostics.empty()) << all_text(result.diagnostics);
    const Config& config = *result.config;
    EXPECT_EQ(config.file, "a.cfg");
    EXPECT_EQ(config.ports.at(0).device, "net_null0");
    EXPECT_EQ(to_text(config.ports.at(0).addresses.at(0)), "10.1.0.2/24");
    EXPECT_EQ(config.timeouts.udp, Duration(120'000));
    EXPECT_EQ(config.timeouts.tcp_established, Duration(350'000));
    EXPECT_EQ(config.pools.at(0).backends[0].weight, 1u);
    EXPECT_EQ(config.services[0].ports, (std::vector<PortRange>{{80, 80, false}}));
    EXPECT_TRUE(config.services[0].tcp);
    EXPECT_FALSE(config.services[0].udp);
    EXPECT_EQ(config.services[0].forwarding, ForwardingMode::dsr);
    EXPECT_EQ(config.services[0].where.line, 6u);
}

TEST(ReadConfig, TakesVlansInEveryFormAndPutsPortsOfOneDeviceTogether) {
    const auto result = read_config_text(good_text_but(2, R"(ports = (
        { name = "edge"; device = "0000:0a:06.0"; addresses = [ "10.1.0.2/24" ]; vlan = 0; },
        { name = "other"; device = "net_null1"; vlan = 4094; },
        { name = "a"; device = "0A:06.0"; vlan = 100; mtu = 1600; mac = "02:00:00:00:00:01"; },
        { name = "b"; device = "0000:0a:06.0"; vlan = [ 100, 4094 ]; },
        { name = "c"; device = "0000:0a:06.0"; vlan = ( 1, 100 ); } );)"),
                                         "a.cfg");
    ASSERT_TRUE(result.config) << all_text(result.diagnostics);
    std::vector<VlanTags> vlans;
    for (const PortConfig& port : result.config->ports) vlans.push_back(port.vlan);
    EXPECT_EQ(vlans, (std::vector<VlanTags>{{}, {4094, 0}, {100, 0}, {100, 4094}, {1, 100}}));
    const std::vector<DeviceConfig> devices = devices_of(*result.config);
    ASSERT_EQ(devices.size(), 2u);
    EXPECT_EQ(devices[0].ports, (std::vector<std::size_t>{0, 2, 3, 4}));
    EXPECT_EQ(devices[0].mac, parse_mac_address("02:00:00:00:00:01"));
    EXPECT_EQ(devices[0].mtu, 1600);
    EXPECT_EQ(devices[0].tag_bytes, 8);
    EXPECT_EQ(devices[1].ports, std::vector<std::size_t>{1});
    EXPECT_FALSE(devices[1].mac);
    EXPECT_EQ(devices[1].tag_bytes, 4);
    EXPECT_EQ(&device_of(devices, 3), &devices[0]);
    EXPECT_EQ(&device_of(devices, 1), &devices[1]);
}

TEST(ReadConfig, GivesANetworkDeviceAHostInterface) {
    const auto named = [](const std::string& first, const std::string& second) {
        const auto result = read_lines(2, "ports = ( { name = \"edge\"; addresses = [ \"10.1.0.2/24\" ]; " +
                                              first + " }, { name = \"core\"; " + second + " } );");
        EXPECT_TRUE(result.config) << all_text(result.diagnostics);
        std::vector<std::string> names;
        if (result.config)
            for (const PortConfig& port : result.config->ports) names.push_back(port.host_interface);
        return names;
    };
    using Names = std::vector<std::string>;
    EXPECT_EQ(named("device = \"0000:00:06.0\";", "device = \"net_af_packet0,iface=eth1\";"),
              (Names{"weir0", "weir1"}));
    EXPECT_EQ(named("device = \"net_null0\";", "device = \"net_af_xdp0,iface=eth1\";"), (Names{"", "weir1"}));
    EXPECT_EQ(named("device = \"net_pcap0,rx_pcap=a\";", "device = \"net_tap0\";"), (Names{"", ""}));
    EXPECT_EQ(named("device = \"0000:00:06.0\"; host_interface = \"none\";",
                    "device = \"net_tap0\"; host_interface = \"fifteen_letters\";"),
              (Names{"", "fifteen_letters"}));
}

TEST(ReadConfig, TakesPortsInEveryForm) {
    const auto ports = [](const std::string& port) {
        const auto result = read_lines(
            6,
            "services = ( { name = \"web\"; vip = \"203.0.113.10\"; protocol = [ \"tcp\", \"udp\" ]; "
            "port = " +
                port + "; forwarding = \"dsr\"; pool = \"web\"; } );");
        EXPECT_TRUE(result.config) << all_text(result.diagnostics);
        return result.config ? result.config->services[0].ports : std::vector<PortRange>();
    };
    const std::vector<PortRange> three = {{80, 80, false}, {443, 443, false}, {8000, 8099, false}};
    EXPECT_EQ(ports("\"80,443,8000-8099\""), three);
    EXPECT_EQ(ports("( 443, \"8000-8099\", 80 )"), three);
    EXPECT_EQ(ports("[ 443 ]"), (std::vector<PortRange>{{443, 443, false}}));
    EXPECT_EQ(ports("\"any\""), (std::vector<PortRange>{{1, 65'535, true}}));
    EXPECT_EQ(ports("\"1-65535\""), (std::vector<PortRange>{{1, 65'535, false}}));
}

TEST(ReadConfig, TakesTheDefaultsOfWhatIsNotBuilt) {
    const auto result = read_lines(
        5,
        "pools = ( { name = \"web\"; hash = \"source_ip\"; deregistration_delay = \"1h\"; "
        "connection_termination = false; slow_start = \"0s\"; unhealthy_flows = \"rehash\"; cross_zone = "
        "true; "
        "client_address = \"none\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; } ); } );");
    ASSERT_TRUE(result.config) << all_text(result.diagnostics);
    EXPECT_EQ(result.config->pools.at(0).hash, SelectionHash::source_ip);
    EXPECT_EQ(result.config->pools.at(0).deregistration_delay, Duration(3'600'000));
}

TEST(ReadConfig, ExactInsideRangeInsideAnyIsNoOverlap) {
    const std::string vip =
        "vip = \"203.0.113.10\"; protocol = \"tcp\"; forwarding = \"dsr\"; pool = \"web\"; ";
    const auto result = read_lines(6, "services = ( { name = \"x\"; port = 85; " + vip +
                                          "}, { name = \"y\"; port = \"80-90\"; " + vip +
                                          "}, { name = \"z\"; port = \"any\"; " + vip + "} );");
    EXPECT_TRUE(result.config) << all_text(result.diagnostics);
}

TEST(ReadConfig, ThePoolsModeOverridesTheDefault) {
    const auto result = read_lines(6,
                                   "services = ( { name = \"web\"; vip = \"203.0.113.10\"; protocol = "
                                   "\"tcp\"; port = 80; pool = \"web\"; } );\n"
                                   "@");
    EXPECT_FALSE(result.config);
    std::string text = good_text_but(5,
                                     "pools = ( { name = \"web\"; forwarding = \"dsr\"; backends = ( { name "
                                     "= \"a\"; address = \"10.1.0.11\"; } ); } );");
    text.erase(text.find(" forwarding = \"dsr\"; pool"), 20);
    const auto overridden = read_config_text(text, "a.cfg");
    EXPECT_TRUE(overridden.config) << all_text(overridden.diagnostics);
}

struct Warned {
    std::size_t line;
    const char* text;
    const char* words;
};
TEST(ReadConfig, WarnsAndAccepts) {
    const Warned cases[] = {
        {1, "dataplane = { cpus = [ 0 ]; idle = \"sleep\"; };", "control_cpu 0 is also one of cpus"},
        {5, "pools = ( { name = \"web\"; } );", "no backends"},
        {5,
         "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; weight = 0; } ); "
         "} );",
         "weight 0"},
        {5,
         "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; port = 8080; } "
         "); } );",
         "not translated"},
        {5,
         "pools = ( { name = \"web\"; minimum_healthy = { count = 2; }; backends = ( { name = \"a\"; "
         "address = \"10.1.0.11\"; } ); } );",
         "below its minimum whatever their health"},
        {5, "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.12\"; } ); } );",
         "entry in neighbors"},
        {5,
         "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; }, { name = "
         "\"b\"; address = \"10.1.0.11\"; } ); } );",
         "both shares"},
        {5,
         "pools = ( { name = \"web\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; } ); }, { name = "
         "\"other\"; backends = ( { name = \"a\"; address = \"10.1.0.11\"; } ); } );",
         "no service uses it"},
        {6, "services = ( );", "no services"},
    };
    for (const Warned& warned : cases) {
        const auto result = read_lines(warned.line, warned.text);
        EXPECT_TRUE(result.config) << warned.text << "\n" << all_text(result.diagnostics);
        const std::string said = all_text(result.diagnostics);
        EXPECT_NE(said.find("a.cfg:" + std::to_string(warned.line) + ": warning: "), std::string::npos)
            << said;
        EXPECT_NE(said.find(warned.words), std::string::npos) << warned.text << "\n" << said;
    }
}

TEST(ReadConfig, WarnsWhereATunnelHasNoRoomOrNoRoute) {
    std::string text = good_text_but(4, "");
    text.replace(text.find("\"dsr\""), 5, "\"gue\"");
    text.replace(text.find("mtu = 1600"), 10, "mtu = 1531");
    text.replace(text.rfind("10.1.0.11"), 9, "10.2.0.11");
    const auto result = read_config_text(text, "a.cfg");
    ASSERT_TRUE(result.config) << all_text(result.diagnostics);
    ASSERT_EQ(result.diagnostics.size(), 2u) << all_text(result.diagnostics);
    EXPECT_NE(result.diagnostics[0].message.find("mtu 1531 leaves 1499 bytes"), std::string::npos);
    EXPECT_NE(result.diagnostics[1].message.find("has no route"), std::string::npos);
    EXPECT_EQ(result.diagnostics[1].text().rfind("a.cfg:5: warning: ", 0), 0u);
}

TEST(ReadConfig, WhereTheKernelIsAskedTheFileNeedNotSayTheWay) {
    std::string text = good_text_but(4, "");
    text.replace(text.find("net_null0\"; addresses = [ \"10.1.0.2/24\" ];"), 42,
                 "net_null0\"; host_interface = \"weir0\";");
    text.replace(text.rfind("10.1.0.11"), 9, "10.2.0.11");
    const auto result = read_config_text(text, "a.cfg");  // dsr
    ASSERT_TRUE(result.config) << all_text(result.diagnostics);
    EXPECT_TRUE(result.diagnostics.empty()) << all_text(result.diagnostics);
    text.replace(text.find("\"dsr\""), 5, "\"gue\"");
    EXPECT_TRUE(read_config_text(text, "a.cfg").diagnostics.empty());
}

TEST(ReadConfig, SaysEverythingAtOnceInTheFilesOrder) {
    std::string text = good_text_but(8, "timeouts = { udp = 1; tcp = \"1s\"; };");
    text.replace(text.find("workers = 1"), 11, "workers = 0");
    text.replace(text.find("10.1.0.2/24"), 11, "10.1.0.2/99");
    const auto result = read_config_text(text, "a.cfg");
    EXPECT_FALSE(result.config);
    ASSERT_EQ(errors_in(result), 4u) << all_text(result.diagnostics);
    EXPECT_EQ(result.diagnostics[0].where.line, 1u);
    EXPECT_EQ(result.diagnostics[1].where.line, 2u);
    EXPECT_EQ(result.diagnostics[2].where.line, 8u);
    EXPECT_EQ(result.diagnostics[3].where.line, 8u);
    EXPECT_EQ(warnings_in(result), 0u);
}

TEST(ReadConfig, NamesTheLineOfTheKeyNotOfTheGroup) {
    const auto result = read_lines(
        6,
        "services = (\n  { name = \"web\";\n    vip = \"0.0.0.0\";\n    protocol = \"tcp\";\n    port = 80;\n"
        "    forwarding = \"dsr\"; pool = \"web\"; } );");
    expect_one_error(result, 8, "vip 0.0.0.0");
}

TEST(ReadConfig, RefusesWhatIsNoText) {
    expect_one_error(read_config_text("\xef\xbb\xbf" + good_text_but(), "a.cfg"), 1, "byte order mark");
    expect_one_error(read_config_text(std::string("\n\na\0b", 5), "a.cfg"), 3, "NUL byte at offset 3");
    expect_one_error(read_config_text("", "a.cfg"), 1, "no ports");
    EXPECT_GE(errors_in(read_config_text("\x7f\x45LF\x02\x01\x01", "a.cfg")), 1u);
}

TEST(ReadConfig, BoundsDepthKeysAndEntries) {
    expect_one_error(
        read_config_text("a = " + std::string(20'000, '(') + std::string(20'000, ')') + ";", "a.cfg"), 1,
        "deeper than 16");
    std::string keys;
    for (int i = 0; i < 100'000; ++i) keys += "k" + std::to_string(i) + " = 1;\n";
    expect_one_error(read_config_text(keys, "a.cfg"), 257, "more than 256 settings");
    std::string ports = "ports = ( ";
    for (int i = 0; i < 17; ++i) ports += std::string(i == 0 ? "" : ", ") + "{ }";
    const auto too_many = read_lines(2, ports + " );");
    EXPECT_NE(all_text(too_many.diagnostics).find("ports has 17 entries; allowed: at most 16"),
              std::string::npos);
}

TEST(ReadConfig, BoundsBackendsAndServices) {
    std::string list;
    for (int i = 0; i < 65'536; ++i)
        list += (i == 0 ? "" : ",\n") + std::string("{ name = \"b") + std::to_string(i) +
                "\"; address = \"10.1.0.11\"; }";
    const auto pool = read_lines(5, "pools = ( { name = \"web\"; backends = ( " + list + " ); } );");
    EXPECT_EQ(errors_in(pool), 1u);
    EXPECT_NE(all_text(pool.diagnostics).find("65,536 backends; allowed: at most 65,535"), std::string::npos);
    const auto services = read_lines(6, "services = ( " + list + " );");
    EXPECT_NE(all_text(services.diagnostics).find("services has 65,536 entries; allowed: at most 65,535"),
              std::string::npos);
}

// CPU time and the result of reading about `bytes` of wrong backends.
std::pair<double, ConfigResult> read_mistakes(std::size_t bytes) {
    std::string list;
    while (list.size() < bytes)
        list += (list.empty() ? "" : ",\n") + std::string("{ name = \"a/b\"; adress = \"x\"; }");
    const std::clock_t begin = std::clock();
    auto result = read_lines(5, "pools = ( { name = \"web\"; backends = ( " + list + " ); } );");
    return {static_cast<double>(std::clock() - begin), std::move(result)};
}

TEST(ReadConfig, TenMegabytesOfMistakesAreCutAtAThousandInLinearTime) {
    constexpr std::size_t kBytes = kSanitized ? 2'000'000 : 10'000'000;
    const double small = read_mistakes(kBytes / 10).first;
    const auto [large, result] = read_mistakes(kBytes);
    // Linear is 10, quadratic 100. A ratio of CPU times: sanitizers and a busy machine slow both.
    EXPECT_LT(large / small, 40.0);
    EXPECT_FALSE(result.config);
    ASSERT_EQ(result.diagnostics.size(), 1'001u);
    EXPECT_NE(result.diagnostics.back().message.find("more are not shown"), std::string::npos);
}

TEST(ReadConfigFile, RefusesWhatIsNoReadableFile) {
    const TemporaryFolder folder;
    expect_one_error(read_config(folder.file("absent.cfg")), 1, "cannot open the file: No such file");
    expect_one_error(read_config(folder.file("")), 1, "is a folder");
    ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
    expect_one_error(read_config(folder.file("pipe")), 1, "is not a regular file");
    const std::string locked = folder.write("locked.cfg", good_text_but());
    ASSERT_EQ(::chmod(locked.c_str(), 0), 0);
    // Root reads files of any mode, so that root looks through another user's eyes.
    constexpr uid_t kNobody = 65'534;
    const bool root = ::geteuid() == 0;
    ASSERT_EQ(::chmod(folder.file("").c_str(), 0755), 0);
    if (root) {
        ASSERT_EQ(::seteuid(kNobody), 0);
    }
    const ConfigResult unreadable = read_config(locked);
    if (root) {
        ASSERT_EQ(::seteuid(0), 0);
    }
    expect_one_error(unreadable, 1, "Permission denied");
}

TEST(ReadConfigFile, RefusesMoreThan64MiB) {
    const TemporaryFolder folder;
    const std::string path = folder.write("large.cfg", "");
    ASSERT_EQ(::truncate(path.c_str(), (64 << 20) + 1), 0);
    expect_one_error(read_config(path), 1, "larger than 64 MiB");
}

TEST(ReadConfigFile, IncludesRelativeToTheFileAndKeepsLines) {
    const TemporaryFolder folder;
    std::string text = good_text_but(1, "@include \"part.cfg\"");
    folder.write("part.cfg", "# one\ndataplane = {\n  workers = 2;\n};");
    const std::string path = folder.write("main.cfg", text);
    const auto good = read_config(path);
    ASSERT_TRUE(good.config) << all_text(good.diagnostics);
    EXPECT_EQ(good.config->dataplane.workers, 2u);
    EXPECT_EQ(good.config->services[0].where.line, 6u);
    folder.write("part.cfg", "\ndataplane = {\n  workers = 200; };");
    const auto bad = read_config(path);
    expect_one_error(bad, 3, "workers is 200");
    EXPECT_EQ(bad.diagnostics[0].where.file, folder.file("part.cfg"));
    folder.write("part.cfg", "@include \"main.cfg\"");
    EXPECT_NE(all_text(read_config(path).diagnostics).find("includes itself"), std::string::npos);
    folder.write("main.cfg",
                 good_text_but(1, "@include \".\""));  // libconfig alone would end the process here
    expect_one_error(read_config(path), 1, "is a folder");
    folder.write("main.cfg", good_text_but(1, "@include \"gone.cfg\""));
    expect_one_error(read_config(path), 1, "gone.cfg\": cannot open the file");
}

TEST(Configs, AllShippedOnesAreGoodWithoutAWarning) {
    const char* source = std::getenv("WEIR_SOURCE");
    ASSERT_NE(source, nullptr) << "run by meson test, or set WEIR_SOURCE to the source folder";
    std::size_t files = 0;
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(std::filesystem::path(source) / "configs")) {
        if (entry.path().extension() != ".cfg") continue;
        ++files;
        const auto result = read_config(entry.path().string());
        EXPECT_TRUE(result.config && result.diagnostics.empty()) << all_text(result.diagnostics);
    }
    EXPECT_GE(files, 6u);
}

TEST(CheckCommand, SaysOkOrEveryErrorAndExitsAccordingly) {
    const TemporaryFolder folder;
    const std::string good = folder.write("good.cfg", good_text_but());
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(check_command(good), 0);
    EXPECT_EQ(::testing::internal::GetCapturedStdout(),
              good + ": ok (1 worker, 1 port, 1 service, 1 pool, 1 backend, 0 warnings)\n");
    const std::string bad = folder.write("bad.cfg", good_text_but(1, "dataplane = { workers = 0; };"));
    ::testing::internal::CaptureStderr();
    EXPECT_EQ(check_command(bad), 1);
    EXPECT_EQ(
        ::testing::internal::GetCapturedStderr(),
        bad + ":1: dataplane: workers is 0; allowed: 1 to 64\n" + bad + ": refused (1 error, 0 warnings)\n");
}

}  // namespace
}  // namespace weir
