// The commands of the control socket (protocol.h): what each request is answered with. The control thread.
#pragma once

#include "ctrl/api/change_queue.h"
#include "ctrl/api/control_server.h"
#include "ctrl/api/show.h"

namespace weir {

class ControlCommands {
  public:
    // All outlive this.
    ControlCommands(ShowSources sources, ChangeQueue& queue, ControlLoop& loop);

    void handle(const Request& request, const Peer& peer, const ControlServer::Reply& reply);

  private:
    void change(const Request& request, const Peer& peer, const ControlServer::Reply& reply);
    void reload(const Request& request, const ControlServer::Reply& reply);
    void check(const Request& request, const Peer& peer, const ControlServer::Reply& reply);
    [[nodiscard]] Result<nlohmann::ordered_json> explain(const Request& request) const;

    ShowSources sources_;
    ChangeQueue& queue_;
    ControlLoop& loop_;
};

}  // namespace weir
