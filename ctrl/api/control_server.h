// Clients of the control socket: reads their requests, has them answered, writes the answers.
//
// Nothing that a client does or leaves undone blocks the loop or costs more than a bound:
//
//   one request of a client at a time   the next is read once the answer has been sent; requests of one
//   client
//                                       are answered in order, and those of others come between
//   a request                           at most kMaxRequestBytes, complete within kPatience of its first byte
//   an answer                           taken within kPatience, some of it at least
//   clients                             kMaxClients; one more takes the place of the client that has been
//   silent
//                                       for longest, or is refused in words while all wait for answers
//
// A client that has gone is noticed when it is written to; what it asked for is done all the same. The
// control thread.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <list>
#include <memory>

#include "ctrl/api/control_socket.h"
#include "ctrl/api/protocol.h"
#include "ctrl/control_loop.h"

namespace weir {

// Whom the kernel says we talk to.
struct Peer {
    uid_t uid = 0;
    pid_t pid = 0;
};

class ControlServer {
  public:
    static constexpr std::size_t kMaxClients = 64;
    static constexpr std::chrono::seconds kPatience{10};

    using Reply = std::function<void(const Result<nlohmann::ordered_json>&)>;
    // Calls the reply once, at once or later, on the same thread.
    using Handler = std::function<void(const Request&, const Peer&, Reply)>;

    // `loop` outlives this.
    ControlServer(ControlSocket socket, ControlLoop& loop, Handler handler);
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    // Closes what has kept us waiting; once a second.
    void each_second();
    [[nodiscard]] std::size_t clients() const { return clients_.size(); }

  private:
    class Client;
    using Clients = std::list<std::shared_ptr<Client>>;

    void accept_clients();
    void admit(int fd);
    [[nodiscard]] bool make_room();
    void remove(const Client& client);

    ControlSocket socket_;
    ControlLoop& loop_;
    Handler handler_;
    std::unique_ptr<ControlLoop::Watch> watch_;
    Clients clients_;
};

}  // namespace weir
