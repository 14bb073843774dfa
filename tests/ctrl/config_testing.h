// What the tests of the configuration share: a good configuration of eight lines, and temporary folders.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "ctrl/config/read_config.h"

namespace weir {

// Line 1 is kGoodLines[0]. Without errors and without warnings.
inline constexpr std::array<std::string_view, 8> kGoodLines = {
    R"(dataplane = { workers = 1; };)",
    R"(ports = ( { name = "edge"; device = "net_null0"; addresses = [ "10.1.0.2/24" ]; mtu = 1600; } );)",
    R"(neighbors = ( { address = "10.1.0.11"; mac = "02:00:00:00:00:11"; port = "edge"; } );)",
    R"(routes = ( { prefix = "0.0.0.0/0"; via = "10.1.0.11"; port = "edge"; } );)",
    R"(pools = ( { name = "web"; backends = ( { name = "a"; address = "10.1.0.11"; } ); } );)",
    R"(services = ( { name = "web"; vip = "203.0.113.10"; protocol = "tcp"; port = 80; forwarding = "dsr"; pool = "web"; } );)",
    R"(metrics = { listen = "127.0.0.1:9101"; };)",
    R"(timeouts = { udp = "120s"; };)",
};

// The good configuration with one line (counted from 1) replaced; 0 replaces none.
inline std::string good_text_but(std::size_t line = 0, std::string_view replacement = "") {
    std::string text;
    for (std::size_t i = 0; i < kGoodLines.size(); ++i) {
        text += i + 1 == line ? replacement : kGoodLines[i];
        text += '\n';
    }
    return text;
}

// For failures: what a result says.
inline std::string all_text(const std::vector<Diagnostic>& diagnostics) {
    std::string text;
    for (const Diagnostic& diagnostic : diagnostics) text += diagnostic.text() + "\n";
    return text.empty() ? "(nothing)" : text;
}

inline std::size_t count(const std::vector<Diagnostic>& diagnostics, Diagnostic::Severity severity) {
    std::size_t number = 0;
    for (const Diagnostic& diagnostic : diagnostics) number += diagnostic.severity == severity ? 1 : 0;
    return number;
}
inline std::size_t errors_in(const ConfigResult& result) {
    return count(result.diagnostics, Diagnostic::Severity::error);
}
inline std::size_t warnings_in(const ConfigResult& result) {
    return count(result.diagnostics, Diagnostic::Severity::warning);
}

// A folder of its own for a test, removed at its end.
class TemporaryFolder {
  public:
    TemporaryFolder() {
        std::string name = (std::filesystem::temp_directory_path() / "weir-test-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp failed";
        path_ = name;
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;

    [[nodiscard]] std::string file(std::string_view name) const { return (path_ / name).string(); }
    std::string write(std::string_view name, std::string_view content) const {
        std::ofstream(path_ / name, std::ios::binary) << content;
        return file(name);
    }

  private:
    std::filesystem::path path_;
};

// The good configuration, read with one line replaced.
inline ConfigResult read_lines(std::size_t line, std::string_view replacement) {
    return read_config_text(good_text_but(line, replacement), "a.cfg");
}

}  // namespace weir
