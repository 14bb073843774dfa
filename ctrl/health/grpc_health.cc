#include "ctrl/health/grpc_health.h"

#include <array>
#include <cstdint>

namespace weir {
namespace {

constexpr std::size_t kFrameHeader = 5;  // compressed?, length in 4 bytes

// Wire types of protobuf.
enum class Wire : std::uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

void append_varint(std::string& out, std::size_t number) {
    for (; number >= 0x80; number >>= 7) out.push_back(static_cast<char>(number | 0x80));
    out.push_back(static_cast<char>(number));
}

std::optional<std::uint64_t> take_varint(std::string_view& text) {
    std::uint64_t number = 0;
    for (unsigned shift = 0; shift < 64 && !text.empty(); shift += 7) {
        const auto byte = static_cast<std::uint8_t>(text.front());
        text.remove_prefix(1);
        number |= std::uint64_t{byte & 0x7fu} << shift;
        if (byte < 0x80) return number;
    }
    return std::nullopt;
}

// Takes off the value of a field that is not ours. False: malformed.
bool skip(std::string_view& text, Wire wire) {
    std::optional<std::uint64_t> length;
    switch (wire) {
        case Wire::varint:
            return take_varint(text).has_value();
        case Wire::fixed64:
            length = 8;
            break;
        case Wire::fixed32:
            length = 4;
            break;
        case Wire::bytes:
            length = take_varint(text);
            break;
    }
    if (!length || *length > text.size()) return false;
    text.remove_prefix(static_cast<std::size_t>(*length));
    return true;
}

template <std::size_t N>
std::string name_in(const std::array<const char*, N>& names, unsigned number) {
    return number < N ? names[number] : std::to_string(number);
}

}  // namespace

std::string grpc_health_request(std::string_view service) {
    std::string message;
    if (!service.empty()) {
        message.push_back(1 << 3 | static_cast<int>(Wire::bytes));
        append_varint(message, service.size());
        message += service;
    }
    std::string frame(1, '\0');
    for (int shift = 24; shift >= 0; shift -= 8) frame.push_back(static_cast<char>(message.size() >> shift));
    return frame + message;
}

std::optional<unsigned> grpc_serving_status(std::string_view frame) {
    if (frame.size() < kFrameHeader || frame[0] != '\0') return std::nullopt;
    std::size_t length = 0;
    for (const char byte : frame.substr(1, 4)) length = length << 8 | static_cast<std::uint8_t>(byte);
    std::string_view message = frame.substr(kFrameHeader);
    if (length != message.size()) return std::nullopt;
    unsigned status = 0;
    while (!message.empty()) {
        const auto tag = take_varint(message);
        if (!tag) return std::nullopt;
        const auto wire = static_cast<Wire>(*tag & 7);
        if (*tag == (1 << 3 | static_cast<unsigned>(Wire::varint))) {
            const auto value = take_varint(message);
            if (!value) return std::nullopt;
            status = static_cast<unsigned>(*value);
        } else if (!skip(message, wire)) {
            return std::nullopt;
        }
    }
    return status;
}

std::string grpc_serving_name(unsigned status) {
    static constexpr std::array kNames = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    return name_in(kNames, status);
}

std::string grpc_code_name(unsigned code) {
    static constexpr std::array kNames = {
        "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
        "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"};
    return name_in(kNames, code);
}

}  // namespace weir
