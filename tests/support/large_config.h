// Configurations of the size that weir promises, as files: what an operator's generator would write.
#pragma once

#include <string>

#include "ctrl/config/config.h"

namespace weir::test {

struct ConfigSize {
    unsigned pools = 1'000;
    unsigned backends = 100;    // a pool
    unsigned services = 1'000;  // each of the pools in turn
};

inline constexpr unsigned kFirstServicePort = 80;

// The VIP of a service: 250 in each of 203.0.0.0/16's networks.
[[nodiscard]] std::string vip_of(unsigned service);

// One port on a memory ring, a router behind which all backends are, UDP services over IPIP.
[[nodiscard]] std::string config_text(const ConfigSize& size);

// A file of its own under the system's folder for temporary files, as long as this lives.
class ConfigFile {
  public:
    explicit ConfigFile(const std::string& text);
    ~ConfigFile();
    ConfigFile(const ConfigFile&) = delete;
    ConfigFile& operator=(const ConfigFile&) = delete;
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    std::string path_;
};

// What weir's reader makes of such a file. Ends the program with the diagnostics if it refuses.
[[nodiscard]] Config large_config(const ConfigSize& size);

}  // namespace weir::test
