// Keeps ports going: links that go and come, interfaces that are deleted and made again, devices that want a
// reset.
//
// Theory of operation. A state machine for each device, with all the ports that lie on it (VLANs), which
// poll() moves on and which never waits:
//
//   serving   workers poll the device. Leaves when the device asks for a reset, or its kernel interface is
//   gone,
//             was down, is another one of the same name, or has another MTU.
//   leaving   a snapshot that disables its ports has been published. Nothing is done to the device before no
//             worker uses an older one (World::settled_since). Then it is reset where it is, or closed.
//   away      there is no device. Each change of the interface is a try to open it again, and beside that
//             there is one after a while that doubles to a second. When it is open, workers get their queues
//             and a snapshot is published that enables the ports.
//
// Flow tables are the workers' and stay. Frames for a port that does not serve are dropped `port_down`. A
// net_af_packet is made anew after its interface was down: what waited in its ring would else leave when the
// link comes back, seconds late. Its MTU is never above the interface's: the kernel keeps a longer frame at
// the head of the ring and sends nothing behind it. A net_af_xdp outlives that (Port::outlives_down): its
// ports are disabled while the link is down, and nothing else happens.
//
// Sentences for the operator only where something changes. The control thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "ctrl/world.h"
#include "drivers/link_watch.h"
#include "drivers/port.h"

namespace weir {

class PortKeeper {
  public:
    using Clock = std::chrono::steady_clock;

    // The ports serve, and all this outlives the keeper. Where the kernel's interfaces cannot be watched it
    // says so once, and their changes are not seen.
    // `hand_out` gives every worker its queues of a port that was made again (Worker::set_queues).
    PortKeeper(std::span<Port> ports, MbufPools& pools, World& world, std::function<void(Port&)> hand_out);

    // Readable when poll() should be called at once; -1: never.
    [[nodiscard]] int fd() const noexcept { return watch_ ? watch_->fd() : -1; }
    // Call it after World::tick() and when fd() is readable. True if what follows below has changed.
    bool poll();

    // Frames may come and go.
    [[nodiscard]] bool link_up(std::size_t port) const noexcept { return of(port).link_up; }
    // How often the port's device has been reset or made again.
    [[nodiscard]] std::uint64_t resets(std::size_t port) const noexcept { return of(port).resets; }

  private:
    enum class State : std::uint8_t { serving, leaving, away };
    enum class Wish : std::uint8_t { none, reset, reopen };
    struct Kept {
        std::vector<Port*> ports;  // the first one carries the device
        std::uint16_t configured_mtu;
        State state = State::serving;
        Wish wish = Wish::none;
        std::string said;              // why it does not serve
        std::uint64_t generation = 0;  // that disabled it
        int interface = 0;             // as it was opened: its index, and LinkFacts::downs
        std::uint64_t interface_downs = 0;
        Clock::time_point left, retry_at, link_due;
        std::chrono::milliseconds backoff{0};
        bool link_up = true;
        std::uint64_t resets = 0;
    };
    [[nodiscard]] const Kept& of(std::size_t port) const noexcept { return kept_[device_of_[port]]; }
    bool serve(Kept& kept);
    bool leave(Kept& kept);
    bool come_back(Kept& kept);
    void begin_to_leave(Kept& kept, Wish wish, const std::string& why);
    void enable(Kept& kept);
    void set_enabled(const Kept& kept, bool enabled);
    void remember_interface(Kept& kept);
    [[nodiscard]] std::uint16_t wanted_mtu(const Kept& kept, const LinkWatch::Links::value_type& link) const;
    [[nodiscard]] std::string what_changed(const Kept& kept) const;
    [[nodiscard]] bool has_link(const Kept& kept) const;
    [[nodiscard]] static std::string name_of(const Kept& kept);
    void say(Kept& kept, const std::string& why);

    MbufPools& pools_;
    World& world_;
    std::function<void(Port&)> hand_out_;
    std::unique_ptr<LinkWatch> watch_;  // null: no port is on a kernel interface
    std::vector<Kept> kept_;
    std::vector<std::size_t> device_of_;  // by PortId: index in kept_
};

}  // namespace weir
