#include "drivers/device_name.h"

#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <filesystem>
#include <string_view>

#include "drivers/capture_reader.h"

namespace weir {
namespace {

// From a ring slot's start to the frame: TPACKET_ALIGN(TPACKET2_HDRLEN + 16) - 14 (net/packet/af_packet.c,
// tpacket_rcv).
constexpr unsigned kAfPacketOffset = 66;
constexpr unsigned kAfPacketFramesize = 2048;  // the PMD's default
constexpr unsigned kEthernetAndTags = 14 + 2 * 4;
constexpr unsigned kPage = 4096;

std::string quoted(const DeviceName& device) { return "device = \"" + device.text() + "\""; }

bool is_hex(std::string_view text) {
    return std::all_of(text.begin(), text.end(),
                       [](unsigned char letter) { return std::isxdigit(letter) != 0; });
}

// Hexadecimal digits before a colon: nothing else that may stand here begins like that.
bool looks_like_pci(const std::string& name) {
    const std::size_t colon = name.find(':');
    return colon != std::string::npos && colon != 0 && is_hex(std::string_view(name).substr(0, colon));
}

// "BB:DD.F" or "DDDD:BB:DD.F": bus, device up to 1f, function up to 7.
bool is_pci_address(std::string_view name) {
    if (name.size() == 12 && name[4] == ':' && is_hex(name.substr(0, 4))) name.remove_prefix(5);
    return name.size() == 7 && name[2] == ':' && name[5] == '.' && is_hex(name.substr(0, 2)) &&
           (name[3] == '0' || name[3] == '1') && is_hex(name.substr(4, 1)) && name[6] >= '0' &&
           name[6] <= '7';
}

// A block of net_af_packet's ring is whole pages, and its frames must fill it (see check_af_packet).
DeviceName with_frame_room(const DeviceName& device, unsigned frame_bytes) {
    const unsigned slot = frame_bytes + kAfPacketOffset;
    const unsigned pages = (slot + kPage - 1) / kPage * kPage;
    return device.with("framesz", std::to_string(slot <= kAfPacketFramesize ? kAfPacketFramesize : pages))
        .with("blocksz", std::to_string(pages));
}

Result<void> check_pcap(const DeviceName& device, std::uint16_t queues) {
    for (const char* key : {"rx_pcap", "tx_pcap"}) {
        const std::size_t files = device.count(key);
        if (files != 0 && files != queues)
            return operator_error(quoted(device) + " names " + std::to_string(files) + " " + key +
                                  " files for " + std::to_string(queues) + " workers: write " + key +
                                  "= once per worker, or set dataplane.workers = " + std::to_string(files));
    }
    for (const auto& [key, value] : device.arguments)
        if (key == "rx_pcap" && access(value.c_str(), R_OK) != 0)
            return operator_error(quoted(device) + ": the capture " + value +
                                  " does not exist or cannot be read");
    return {};
}

Result<void> check_af_packet(const DeviceName& device, std::uint16_t queues, std::uint16_t mtu) {
    const std::string interface = device.argument("iface");
    if (interface.empty())
        return operator_error(quoted(device) + " does not say which interface: write \"" +
                              device.with("iface", "eth1").text() + "\"");
    if (if_nametoindex(interface.c_str()) == 0)
        return operator_error(quoted(device) + ": there is no interface " + interface +
                              " in this network namespace (`ip link` lists them)");
    const unsigned pairs = device.number("qpairs", 1);
    if (pairs < queues)
        return operator_error(quoted(device) + " has " + std::to_string(pairs) + " queue pair(s) and " +
                              std::to_string(queues) + " workers need one each: write \"" +
                              device.with("qpairs", std::to_string(queues)).text() +
                              "\" or lower dataplane.workers to " + std::to_string(pairs));
    // The PMD reckons with slots side by side, the kernel lets none cross a block: unless a block is full,
    // they disagree from the second block on.
    const unsigned framesz = device.number("framesz", kAfPacketFramesize);
    if (framesz == 0 || device.number("blocksz", kPage) % framesz != 0)
        return operator_error(quoted(device) + ": blocksz must be a multiple of framesz: write \"" +
                              with_frame_room(device, mtu + kEthernetAndTags).text() + "\"");
    const unsigned needed = mtu + kEthernetAndTags;
    if (af_packet_frame_bytes(device) < needed)
        return operator_error(
            quoted(device) + " cuts frames longer than " + std::to_string(af_packet_frame_bytes(device)) +
            " bytes, and mtu = " + std::to_string(mtu) + " needs " + std::to_string(needed) + ": write \"" +
            with_frame_room(device, needed).text() + "\" or lower the mtu");
    return {};
}

std::vector<std::pair<std::string, std::string>> split_arguments(const std::string& text) {
    std::vector<std::pair<std::string, std::string>> arguments;
    std::size_t start = 0;
    while (start < text.size()) {
        const std::size_t end = std::min(text.find(',', start), text.size());
        const std::string argument = text.substr(start, end - start);
        const std::size_t equals = argument.find('=');
        if (!argument.empty())
            arguments.emplace_back(argument.substr(0, equals),
                                   equals == std::string::npos ? "" : argument.substr(equals + 1));
        start = end + 1;
    }
    return arguments;
}

}  // namespace

bool DeviceName::is(const char* driver) const { return bus == Bus::vdev && name.starts_with(driver); }

std::string DeviceName::argument(const std::string& key) const {
    for (const auto& [name_of, value] : arguments)
        if (name_of == key) return value;
    return {};
}

unsigned DeviceName::number(const std::string& key, unsigned absent) const {
    const std::string value = argument(key);
    unsigned parsed = absent;
    std::from_chars(value.data(), value.data() + value.size(), parsed);
    return parsed;
}

std::size_t DeviceName::count(const std::string& key) const {
    return static_cast<std::size_t>(std::count_if(
        arguments.begin(), arguments.end(), [&](const auto& argument) { return argument.first == key; }));
}

std::string DeviceName::arguments_text() const {
    std::string text;
    for (const auto& [key, value] : arguments)
        text += (text.empty() ? "" : ",") + key + (value.empty() ? "" : "=" + value);
    return text;
}

std::string DeviceName::text() const { return arguments.empty() ? name : name + "," + arguments_text(); }

DeviceName DeviceName::with(const std::string& key, const std::string& value) const {
    DeviceName changed = *this;
    for (auto& [name_of, old_value] : changed.arguments)
        if (name_of == key) {
            old_value = value;
            return changed;
        }
    changed.arguments.emplace_back(key, value);
    return changed;
}

unsigned af_packet_frame_bytes(const DeviceName& device) {
    return device.number("framesz", kAfPacketFramesize) - kAfPacketOffset;
}

std::uint32_t held_frames(const DeviceName& device) {
    if (!device.is("net_pcap") || device.number("infinite_rx", 0) == 0) return 0;
    std::uint64_t frames = 0;
    for (const auto& [key, value] : device.arguments)
        if (key == "rx_pcap") frames += count_records(value).value_or(0);
    // Any pool of that size fails to fit into memory, with a message of its own.
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(frames, 1u << 30));
}

Result<DeviceName> parse_device(const std::string& device, std::uint16_t queues, std::uint16_t mtu) {
    const std::size_t comma = std::min(device.find(','), device.size());
    DeviceName parsed;
    parsed.name = device.substr(0, comma);
    parsed.arguments = split_arguments(device.substr(std::min(comma + 1, device.size())));
    if (parsed.name.empty())
        return operator_error("the device is empty: write a PCI address or a DPDK device");
    if (looks_like_pci(parsed.name)) {
        if (!is_pci_address(parsed.name))
            return operator_error("device = \"" + device +
                                  "\" is not a PCI address: write domain:bus:device.function, "
                                  "as in \"0000:00:06.0\" (`dpdk-devbind.py --status` lists them)");
        parsed.bus = DeviceName::Bus::pci;
        if (parsed.name.size() == 7) parsed.name.insert(0, "0000:");
        std::transform(parsed.name.begin(), parsed.name.end(), parsed.name.begin(),
                       [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
        return parsed;
    }
    if (parsed.arguments.empty() && if_nametoindex(parsed.name.c_str()) != 0) {
        DeviceName packet_socket;
        packet_socket.takes_over = true;
        packet_socket.name = "net_af_packet_" + parsed.name;
        packet_socket = packet_socket.with("iface", parsed.name).with("qpairs", std::to_string(queues));
        return with_frame_room(packet_socket, mtu + kEthernetAndTags);
    }
    if (!parsed.name.starts_with("net_") && !parsed.name.starts_with("eth_") &&
        !parsed.name.starts_with("virtio_user"))
        return operator_error("device = \"" + device +
                              "\" is neither a PCI address, nor a DPDK device (\"net_...\"), "
                              "nor an interface of this network namespace (`ip link` lists them)");
    return parsed;
}

Result<void> check_device(const DeviceName& device, std::uint16_t queues, std::uint16_t mtu) {
    if (device.is("net_pcap")) return check_pcap(device, queues);
    if (device.is("net_af_packet")) return check_af_packet(device, queues, mtu);
    return {};
}

}  // namespace weir
