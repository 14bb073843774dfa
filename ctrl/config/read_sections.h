// The sections of a configuration, each from its group of the file to its part of the plain value.
// Used by read_config.cc only.
#pragma once

#include <string>

#include "ctrl/config/config.h"
#include "ctrl/config/setting_reader.h"

namespace weir {

// `folder` of the configuration: a relative hash_key_file is relative to it.
void read_dataplane(GroupReader& root, const std::string& folder, Config& config);
void read_timeouts(GroupReader& root, Config& config);
void read_metrics(GroupReader& root, Config& config);
void read_control(GroupReader& root, Config& config);
void read_ports(GroupReader& root, Config& config);
void read_neighbors(GroupReader& root, Config& config);
void read_routes(GroupReader& root, Config& config);
void read_pools(GroupReader& root, Config& config);
void read_services(GroupReader& root, Config& config);

// The group of one pool.
void read_health_check(GroupReader& group, HealthCheckConfig& check);

// A name that check_name takes; a wrong one is reported and kept, so that what refers to it is still found.
void read_name(GroupReader& group, const char* key, std::string& target);
// A forwarding mode by name, built or not (validate_config judges); unknown names are refused.
void read_forwarding(GroupReader& group, std::optional<ForwardingMode>& target);
// True, and `target` set, if the key holds an address; else reported.
[[nodiscard]] bool read_address(GroupReader& group, const char* key, IpAddress& target);

}  // namespace weir
