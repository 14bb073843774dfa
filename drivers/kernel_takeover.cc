#include "drivers/kernel_takeover.h"

#include <net/if.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "drivers/interface_state.h"

namespace weir {
namespace {

// Below every priority that people use: nobody's rules see the frames, and none is accepted before.
constexpr const char* kPriority = "-500";

struct FreeNft {
    void operator()(nft_ctx* context) const noexcept { nft_ctx_free(context); }
};

// What nft answered, or the reason why it did not.
tl::expected<std::string, std::string> nft(const std::string& command) {
    const std::unique_ptr<nft_ctx, FreeNft> context(nft_ctx_new(NFT_CTX_DEFAULT));
    if (!context) return tl::make_unexpected(std::string("no netlink socket"));
    nft_ctx_buffer_output(context.get());
    nft_ctx_buffer_error(context.get());
    nft_ctx_output_set_flags(context.get(), NFT_CTX_OUTPUT_JSON);
    const bool done = nft_run_cmd_from_buffer(context.get(), command.c_str()) == 0;
    if (done) return std::string(nft_ctx_get_output_buffer(context.get()));
    const std::string error = nft_ctx_get_error_buffer(context.get());
    return tl::make_unexpected(error.substr(0, error.find('\n')));
}

// An interface's name may hold letters that a table's may not.
std::string table_of(const std::string& interface) {
    std::string name = "weir_" + interface;
    std::ranges::replace_if(
        name,
        [](unsigned char letter) { return std::isalnum(letter) == 0 && letter != '-' && letter != '.'; },
        '_');
    return "netdev " + name;
}

// What a weir that was killed has left to undo; nothing if there is no table.
std::optional<std::vector<std::string>> leftover(const std::string& interface) {
    const auto listed = nft("list table " + table_of(interface));
    if (!listed) return std::nullopt;
    std::vector<std::string> words;
    const auto json = nlohmann::json::parse(*listed, nullptr, false);
    if (!json.is_object()) return words;
    for (const auto& item : json.value("nftables", nlohmann::json::array()))
        if (item.contains("rule") && item["rule"].contains("comment"))
            words.push_back(item["rule"]["comment"].get<std::string>());
    return words;
}

}  // namespace

KernelTakeover::KernelTakeover(std::string interface, unsigned index)
    : interface_(std::move(interface)), index_(index) {}

Result<std::unique_ptr<KernelTakeover>> KernelTakeover::take(const std::string& interface) {
    const unsigned index = if_nametoindex(interface.c_str());
    if (index == 0) return operator_error("there is no interface " + interface + " (`ip link` lists them)");
    std::unique_ptr<KernelTakeover> takeover(new KernelTakeover(interface, index));
    if (auto locked = takeover->lock(); !locked) return tl::make_unexpected(locked.error());
    takeover->remember_state();
    takeover->write_notes();
    if (auto silent = takeover->silence(); !silent) return tl::make_unexpected(silent.error());
    quiet(interface);
    return takeover;
}

KernelTakeover::~KernelTakeover() {
    give_back();
    if (lock_ >= 0) close(lock_);
}

Result<void> KernelTakeover::lock() {
    lock_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string name = "weir/" + interface_;
    name.copy(address.sun_path + 1, sizeof(address.sun_path) - 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (lock_ >= 0 && bind(lock_, reinterpret_cast<const sockaddr*>(&address), length) == 0) return {};
    if (errno == EADDRINUSE)
        return operator_error("another weir that runs in this network namespace has taken " + interface_ +
                              ": end it, or name another interface");
    return machine_error("no lock for " + interface_ + ": " + std::strerror(errno));
}

// An earlier weir's words come first: they tell how the interface was before any weir.
void KernelTakeover::remember_state() {
    const auto kind = [](const std::string& word) {
        return word.starts_with("address") ? word : word.substr(0, word.find(' '));
    };
    if (auto left = leftover(interface_)) {
        undo_ = std::move(*left);
        // Nothing is behind the program of the one that was killed, and it hands all frames to the kernel.
        if (std::ranges::find(undo_, "xdp off") != undo_.end()) apply_word(interface_, "xdp off");
        notes_.push_back(interface_ + " was left silenced by a weir that was killed (nft table " +
                         table_of(interface_) + "); what it had changed is undone when this one ends");
    }
    for (std::string& word : undo_words(interface_)) {
        const auto same = [&](const std::string& known) { return kind(known) == kind(word); };
        if (std::ranges::none_of(undo_, same)) undo_.push_back(std::move(word));
    }
}

Result<void> KernelTakeover::silence() {
    const std::string table = table_of(interface_);
    std::string script = "add table " + table + "\ndelete table " + table + "\ntable " + table +
                         " {\n chain silence { type filter hook ingress device \"" + interface_ +
                         "\" priority " + kPriority + "; policy drop; }\n chain undo {\n";
    for (const std::string& word : undo_) script += "  counter comment \"" + word + "\"\n";
    const auto done = nft(script + " }\n}\n");
    silenced_ = done.has_value();
    if (silenced_) return {};
    const bool may_not = done.error().find("not permitted") != std::string::npos;
    return operator_error("the kernel cannot be kept from answering on " + interface_ +
                          " (nft: " + done.error() + "): " +
                          (may_not ? "run as root, or with the capability NET_ADMIN"
                                   : "is nf_tables in this kernel? Without it write device = "
                                     "\"net_af_packet0,iface=" +
                                         interface_ + "\" and leave the interface without addresses"));
}

void KernelTakeover::write_notes() {
    notes_.push_back("until weir ends the kernel sees nothing of " + interface_ + "; `nft delete table " +
                     table_of(interface_) + "` gives it back by hand");
    std::string addresses;
    for (const std::string& address : kernel_addresses(interface_))
        addresses += (addresses.empty() ? "" : ", ") + address;
    if (!addresses.empty())
        notes_.push_back("the kernel has " + addresses + " on " + interface_ +
                         ", which nobody reaches while weir runs (ssh neither): weir's own addresses belong "
                         "into the port's `addresses`");
}

void KernelTakeover::give_back() noexcept {
    if (!silenced_) return;
    if (if_nametoindex(interface_.c_str()) == index_)
        for (const std::string& word : undo_) apply_word(interface_, word);
    (void)nft("delete table " + table_of(interface_));
}

}  // namespace weir
