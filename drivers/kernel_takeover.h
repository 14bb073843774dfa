// Takes a kernel interface ("eth1") from the kernel, so that weir alone answers on it, and gives it back.
//
// Theory of operation. The kernel would answer what is sent to weir: a RST for a TCP port that nobody listens
// on, ARP and ICMP for its own addresses. An nft table `netdev weir_<interface>` drops everything at ingress;
// packet sockets, weir's included, get their copy before that hook (net/core/dev.c). An XDP program
// comes before both: with AF_XDP the table drops what that lets through, before its socket is there and
// after. IPv6 is switched off on the interface: autoconfiguration would send by itself. GRO, LRO, TSO, GSO
// and the transmit checksum are switched off: they make frames that were never on a wire. An interface that
// is down is set up.
//
// What was changed stands in the table itself, a comment each in its chain `undo`, so that it is found with
// what it undoes and nowhere else: a weir that was killed leaves both, and the next one to take the interface
// takes them over. The address "\0weir/<interface>" of a Unix socket, which the network namespace has once,
// says that a weir is alive.
//
// The main thread. Needs NET_ADMIN.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "drivers/result.h"

namespace weir {

class KernelTakeover {
  public:
    // An error has undone what it could.
    static Result<std::unique_ptr<KernelTakeover>> take(const std::string& interface);
    KernelTakeover(const KernelTakeover&) = delete;
    KernelTakeover& operator=(const KernelTakeover&) = delete;
    // Gives the interface back as it was, as far as the kernel lets it; one that is gone by now, or another
    // of its name, is left alone.
    ~KernelTakeover();

    [[nodiscard]] unsigned interface_index() const noexcept { return index_; }
    // How to give it back by hand, and what the kernel still has on the interface.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

  private:
    KernelTakeover(std::string interface, unsigned index);
    [[nodiscard]] Result<void> lock();
    [[nodiscard]] Result<void> silence();
    void remember_state();
    void write_notes();
    void give_back() noexcept;

    std::string interface_;
    unsigned index_;
    int lock_ = -1;
    bool silenced_ = false;
    std::vector<std::string> undo_;  // "gro on", "ipv6 on", "address 2001:db8::1/64", ...
    std::vector<std::string> notes_;
};

}  // namespace weir
