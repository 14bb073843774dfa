// The first service that uses each pool: where the pool's probes find what only a service can say, its L4
// port, and for those through a VIP the VIP and the mode.
#pragma once

#include <map>
#include <string_view>

#include "ctrl/config/config.h"

namespace weir {

// By the pool's name; a pool that is absent is used by none. Lives no longer than `config`.
inline std::map<std::string_view, const ServiceConfig*> first_services(const Config& config) {
    std::map<std::string_view, const ServiceConfig*> first;
    for (const ServiceConfig& service : config.services) first.emplace(service.pool, &service);
    return first;
}

}  // namespace weir
