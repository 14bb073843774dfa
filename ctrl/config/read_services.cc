// services.
#include <fmt/format.h>

#include <algorithm>

#include "ctrl/config/config_limits.h"
#include "ctrl/config/read_sections.h"
#include "ctrl/config/setting_text.h"
#include "dataplane/ids.h"

namespace weir {

using libconfig::Setting;

namespace {

void read_protocol(GroupReader& group, ServiceConfig& service) {
    const Setting* setting = group.find("protocol");
    if (setting == nullptr) return;
    std::vector<TextAt> names;
    if (setting->getType() == Setting::TypeString)
        names.push_back({setting->c_str(), group.where_of(*setting)});
    else
        names = group.texts("protocol");
    if (setting->isAggregate() && setting->getLength() == 0)
        group.error("protocol", "is empty; allowed: \"tcp\", \"udp\", [ \"tcp\", \"udp\" ]");
    for (const TextAt& name : names) {
        bool* target = name.text == "tcp" ? &service.tcp : name.text == "udp" ? &service.udp : nullptr;
        if (target == nullptr)
            group.error_at(name.where,
                           fmt::format("protocol is {}; allowed: \"tcp\", \"udp\", [ \"tcp\", \"udp\" ]",
                                       in_quotes(name.text)));
        else if (*target)
            group.error_at(name.where,
                           fmt::format("protocol names {} twice; remove one", in_quotes(name.text)));
        else
            *target = true;
    }
}

// 80, "80,443,8000-8099", "any", [ 80, 443 ], ( 80, "8000-8099" )
void read_service_ports(GroupReader& group, ServiceConfig& service) {
    const Setting* setting = group.find("port");
    if (setting == nullptr) return;
    const auto add = [&](const Setting& element, const std::string& text) {
        const auto ranges = parse_port_ranges(text);
        if (!ranges)
            return group.error_at(group.where_of(element), fmt::format("port {}", ranges.error().message));
        if (ranges->front().any && setting->isAggregate())
            return group.error_at(group.where_of(element), "port has \"any\" in a list; it stands alone");
        service.ports.insert(service.ports.end(), ranges->begin(), ranges->end());
    };
    const auto add_element = [&](const Setting& element) {
        if (element.getType() == Setting::TypeString) return add(element, element.c_str());
        if (element.getType() == Setting::TypeInt)
            return add(element, std::to_string(static_cast<int>(element)));
        group.error_at(group.where_of(element),
                       "port is neither a number nor a text; allowed: 80, "
                       "\"80,443,8000-8099\", \"any\"");
    };
    if (!setting->isAggregate() || setting->isGroup()) return add_element(*setting);
    if (setting->getLength() == 0)
        group.error("port", "is empty; allowed: 80, \"80,443,8000-8099\", \"any\"");
    for (int i = 0; i < setting->getLength(); ++i) add_element((*setting)[i]);
    std::sort(service.ports.begin(), service.ports.end());
}

}  // namespace

void read_services(GroupReader& root, Config& config) {
    root.each("services", "service", kMaxServices, [&](GroupReader& group) {
        ServiceConfig service;
        service.where = group.where();
        group.require({"name", "vip", "protocol", "port", "pool"});
        read_name(group, "name", service.name);
        const bool has_vip = read_address(group, "vip", service.vip);
        read_protocol(group, service);
        read_service_ports(group, service);
        std::optional<ForwardingMode> forwarding;
        read_forwarding(group, forwarding);
        // Misspelt, it must not be judged as the default.
        const bool has_mode = forwarding || group.find("forwarding") == nullptr;
        service.forwarding = forwarding.value_or(service.forwarding);
        group.read("pool", service.pool);
        group.not_built("security", "remove it and filter upstream, or in the servers");
        service.keys = group.key_lines();
        if (has_vip && has_mode) config.services.push_back(std::move(service));
    });
}

}  // namespace weir
