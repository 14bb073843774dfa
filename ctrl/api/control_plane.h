// The control socket and the journal of a running weir, put together.
//
// Before the appliance starts, the journal makes the configuration that it starts with, and the socket is
// taken: a second weir ends here, before it touches a device of the first (StartConfig). Once the appliance
// runs, ControlPlane serves clients; those that come earlier wait.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "ctrl/api/change_queue.h"
#include "ctrl/api/control_commands.h"
#include "ctrl/api/control_server.h"
#include "ctrl/changes/effective_config.h"
#include "ctrl/notify.h"

namespace weir {

// File and journal, as a weir starts with them.
struct StartConfig {
    EffectiveConfig effective;
    std::shared_ptr<JournalStore> store;  // null: run-time changes are refused
    std::string why_no_journal;
    std::optional<ControlSocket> socket;  // absent: weirctl does not find this weir
};

// Opens control.socket and control.state_directory and reads the journal. One that cannot be had is an error
// if the file has a group `control`, else a warning; a damaged journal is an error either way: weir does not
// forget what it has acknowledged.
[[nodiscard]] Result<StartConfig> load_start_config(Config file, const Notify& notify);

class ControlPlane {
  public:
    // The queue and the loop outlive this.
    ControlPlane(ControlSocket socket, ShowSources sources, ChangeQueue& queue, ControlLoop& loop);

    void each_second() { server_.each_second(); }

  private:
    ControlCommands commands_;
    ControlServer server_;
};

}  // namespace weir
