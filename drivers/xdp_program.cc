#include "drivers/xdp_program.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include <memory>

namespace weir {
namespace {

struct FreeSocket {
    void operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }
};
struct FreeMessage {
    void operator()(nl_msg* message) const noexcept { nlmsg_free(message); }
};
using Socket = std::unique_ptr<nl_sock, FreeSocket>;
using Message = std::unique_ptr<nl_msg, FreeMessage>;

Socket connected() {
    Socket socket(nl_socket_alloc());
    if (socket != nullptr && nl_connect(socket.get(), NETLINK_ROUTE) < 0) socket.reset();
    return socket;
}

// A message about one interface, which exists. Null: no memory.
Message about(unsigned interface, int type) {
    Message message(nlmsg_alloc_simple(type, 0));
    ifinfomsg header{};
    header.ifi_index = static_cast<int>(interface);
    if (message != nullptr && nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0)
        message.reset();
    return message;
}

int read_attached(nl_msg* message, void* attached) {
    const nlattr* xdp = nlmsg_find_attr(nlmsg_hdr(message), sizeof(ifinfomsg), IFLA_XDP);
    const nlattr* mode =
        xdp == nullptr ? nullptr
                       : nla_find(static_cast<const nlattr*>(nla_data(xdp)), nla_len(xdp), IFLA_XDP_ATTACHED);
    *static_cast<bool*>(attached) = mode != nullptr && nla_get_u8(mode) != XDP_ATTACHED_NONE;
    return NL_OK;
}

}  // namespace

bool has_xdp_program(const std::string& interface) {
    const unsigned index = if_nametoindex(interface.c_str());
    const Socket socket = connected();
    const Message message = about(index, RTM_GETLINK);
    if (index == 0 || socket == nullptr || message == nullptr) return false;
    bool attached = false;
    nl_socket_disable_auto_ack(socket.get());
    nl_socket_modify_cb(socket.get(), NL_CB_VALID, NL_CB_CUSTOM, read_attached, &attached);
    return nl_send_auto(socket.get(), message.get()) >= 0 && nl_recvmsgs_default(socket.get()) >= 0 &&
           attached;
}

bool remove_xdp_program(const std::string& interface) {
    const unsigned index = if_nametoindex(interface.c_str());
    const Socket socket = connected();
    Message message = about(index, RTM_SETLINK);
    if (index == 0 || socket == nullptr || message == nullptr) return false;
    nlattr* xdp = nla_nest_start(message.get(), IFLA_XDP);
    constexpr std::int32_t kNone = -1;
    if (xdp == nullptr || nla_put_s32(message.get(), IFLA_XDP_FD, kNone) < 0) return false;
    nla_nest_end(message.get(), xdp);
    return nl_send_sync(socket.get(), message.release()) >= 0;
}

}  // namespace weir
