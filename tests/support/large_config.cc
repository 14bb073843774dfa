#include "tests/support/large_config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "ctrl/config/read_config.h"

namespace weir::test {
namespace {

constexpr const char* kHead =
    R"(dataplane = { workers = 1; hugepages = false; memory = "128M"; idle = "sleep"; };
ports = ( { name = "edge"; device = "net_ring0"; addresses = [ "10.1.0.2/16" ]; mtu = 1600; } );
neighbors = ( { address = "10.1.0.1"; mac = "02:00:00:00:00:fe"; port = "edge"; } );
routes = ( { prefix = "0.0.0.0/0"; via = "10.1.0.1"; port = "edge"; } );
)";

}  // namespace

std::string vip_of(unsigned service) { return fmt::format("203.0.{}.{}", service / 250, 1 + service % 250); }

std::string config_text(const ConfigSize& size) {
    fmt::memory_buffer text;
    auto out = std::back_inserter(text);
    fmt::format_to(out, "{}pools = (\n", kHead);
    for (unsigned p = 0; p < size.pools; ++p) {
        fmt::format_to(out, "  {{ name = \"pool-{:05}\";\n    backends = (\n", p);
        for (unsigned b = 0; b < size.backends; ++b) {
            const unsigned n = p * size.backends + b;
            fmt::format_to(out,
                           "      {{ name = \"server-{:05}\"; address = \"10.{}.{}.{}\"; weight = 1; }}{}\n",
                           b, 2 + n / 62'500, n / 250 % 250, 1 + n % 250, b + 1 < size.backends ? "," : "");
        }
        fmt::format_to(out, "    );\n  }}{}\n", p + 1 < size.pools ? "," : "");
    }
    fmt::format_to(out, ");\nservices = (\n");
    for (unsigned s = 0; s < size.services; ++s)
        fmt::format_to(out,
                       "  {{ name = \"service-{:05}\"; vip = \"{}\"; protocol = \"udp\"; port = {}; "
                       "forwarding = \"ipip\"; pool = \"pool-{:05}\"; }}{}\n",
                       s, vip_of(s), kFirstServicePort, s % size.pools, s + 1 < size.services ? "," : "");
    fmt::format_to(out, ");\n");
    return fmt::to_string(text);
}

ConfigFile::ConfigFile(const std::string& text)
    : path_((std::filesystem::temp_directory_path() / "weir-scale-XXXXXX").string()) {
    const int file = mkstemp(path_.data());
    if (file >= 0) close(file);
    std::ofstream(path_) << text;
}

ConfigFile::~ConfigFile() { std::remove(path_.c_str()); }

Config large_config(const ConfigSize& size) {
    const ConfigFile file(config_text(size));
    ConfigResult result = read_config(file.path());
    if (result.config) return std::move(*result.config);
    for (const Diagnostic& diagnostic : result.diagnostics)
        std::fprintf(stderr, "%s\n", diagnostic.text().c_str());
    std::exit(2);
}

}  // namespace weir::test
