#include "dataplane/net/address_text.h"

#include <arpa/inet.h>

#include <charconv>

namespace weir {

std::optional<IpAddress> parse_ip_address(std::string_view text) {
    char terminated[INET6_ADDRSTRLEN] = {};
    // A NUL inside would end the text early for inet_pton and pass what follows unseen.
    if (text.size() >= sizeof(terminated) || text.find('\0') != std::string_view::npos) return std::nullopt;
    text.copy(terminated, text.size());
    Ipv4Address v4;
    if (inet_pton(AF_INET, terminated, &v4) == 1) return IpAddress(v4);
    Ipv6Address v6;
    if (inet_pton(AF_INET6, terminated, &v6) == 1) return IpAddress(v6);
    return std::nullopt;
}

std::optional<IpPrefix> parse_ip_prefix(std::string_view text) {
    const auto slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const auto address = parse_ip_address(text.substr(0, slash));
    const std::string_view digits = text.substr(slash + 1);
    unsigned length = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
    if (!address || error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
    if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
    if (length > address->bit_length()) return std::nullopt;
    return IpPrefix{*address, static_cast<std::uint8_t>(length)};
}

std::optional<MacAddress> parse_mac_address(std::string_view text) {
    if (text.size() != 17) return std::nullopt;
    MacAddress mac{};
    for (std::size_t i = 0; i < 6; ++i) {
        const char* digits = text.data() + 3 * i;
        const auto [end, error] = std::from_chars(digits, digits + 2, mac.bytes[i], 16);
        if (error != std::errc{} || end != digits + 2) return std::nullopt;
        if (i < 5 && digits[2] != ':') return std::nullopt;
    }
    return mac;
}

std::string to_text(const IpAddress& address) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(address.is_v4() ? AF_INET : AF_INET6, address.bytes().data(), text, sizeof(text));
    return text;
}

std::string to_text(const IpPrefix& prefix) {
    return to_text(prefix.address) + "/" + std::to_string(prefix.length);
}

std::string to_text(const MacAddress& address) {
    constexpr char kHex[] = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : address.bytes) {
        if (!text.empty()) text += ':';
        text += kHex[byte >> 4];
        text += kHex[byte & 15];
    }
    return text;
}

}  // namespace weir
