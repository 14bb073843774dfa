#include "drivers/link_watch.h"

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/socket.h>
#include <poll.h>

namespace weir {
namespace {

constexpr int kAnswerTimeoutMs = 1'000;
// Room for a burst of changes (a machine with thousands of containers); more costs a dump, not the truth.
constexpr int kReceiveBuffer = 1 << 20;

}  // namespace

Result<std::unique_ptr<LinkWatch>> LinkWatch::open() {
    std::unique_ptr<LinkWatch> watch(new LinkWatch);
    if (auto started = watch->start(); !started) return tl::make_unexpected(started.error());
    return watch;
}

Result<void> LinkWatch::start() {
    const auto failed = [](int code) {
        return machine_error(std::string("the kernel's interfaces cannot be watched (netlink): ") +
                             nl_geterror(code));
    };
    socket_.reset(nl_socket_alloc());
    if (!socket_) return failed(-NLE_NOMEM);
    nl_socket_disable_seq_check(socket_.get());  // news come between the answers
    nl_socket_modify_cb(socket_.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, this);
    nl_socket_modify_cb(socket_.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_dump_end, this);
    if (const int code = nl_connect(socket_.get(), NETLINK_ROUTE); code < 0) return failed(code);
    if (const int code = nl_socket_add_memberships(socket_.get(), RTNLGRP_LINK, RTNLGRP_NONE); code < 0)
        return failed(code);
    nl_socket_set_buffer_size(socket_.get(), kReceiveBuffer, 0);
    if (const int code = nl_socket_set_nonblocking(socket_.get()); code < 0) return failed(code);
    if (const int code = ask_for_all(); code < 0) return failed(code);
    while (dumping_) {
        pollfd answer{fd(), POLLIN, 0};
        if (poll(&answer, 1, kAnswerTimeoutMs) <= 0) return failed(-NLE_AGAIN);
        read();
    }
    return {};
}

int LinkWatch::ask_for_all() noexcept {
    rtgenmsg all{.rtgen_family = AF_UNSPEC};
    seen_.clear();
    dumping_ = true;
    return nl_send_simple(socket_.get(), RTM_GETLINK, NLM_F_DUMP, &all, sizeof(all));
}

void LinkWatch::read() {
    for (;;) {
        const int code = nl_recvmsgs_default(socket_.get());
        if (code >= 0 || code == -NLE_DUMP_INTR) continue;
        if (code != -NLE_NOMEM) return;  // nothing more
        if (ask_for_all() < 0) return;
    }
}

const LinkWatch::Links::value_type* LinkWatch::find(const std::string& name) const noexcept {
    for (const auto& link : links_)
        if (link.second.name == name) return &link;
    return nullptr;
}

int LinkWatch::on_message(nl_msg* message, void* watch) {
    static_cast<LinkWatch*>(watch)->take(nlmsg_hdr(message));
    return NL_OK;
}

int LinkWatch::on_dump_end(nl_msg*, void* watch) {
    static_cast<LinkWatch*>(watch)->forget_unseen();
    return NL_OK;
}

void LinkWatch::take(nlmsghdr* message) {
    if (!nlmsg_valid_hdr(message, sizeof(ifinfomsg))) return;
    const auto& about = *static_cast<const ifinfomsg*>(nlmsg_data(message));
    // A bridge tells of its ports in messages of its own family; one that leaves it is not gone.
    if (about.ifi_family != AF_UNSPEC) return;
    if (message->nlmsg_type == RTM_DELLINK) {
        links_.erase(about.ifi_index);
        return;
    }
    if (message->nlmsg_type != RTM_NEWLINK) return;
    seen_[about.ifi_index] = true;
    LinkFacts& link = links_[about.ifi_index];
    if (const nlattr* name = nlmsg_find_attr(message, sizeof(about), IFLA_IFNAME))
        link.name = nla_get_string(name);
    if (const nlattr* mtu = nlmsg_find_attr(message, sizeof(about), IFLA_MTU)) link.mtu = nla_get_u32(mtu);
    link.up = (about.ifi_flags & IFF_UP) != 0;
    link.running = link.up && (about.ifi_flags & IFF_RUNNING) != 0;
    if (!link.up) ++link.downs;
}

void LinkWatch::forget_unseen() {
    if (!dumping_) return;
    dumping_ = false;
    std::erase_if(links_, [this](const auto& link) { return !seen_.contains(link.first); });
}

}  // namespace weir
