// The world of replay and explain: the production configuration, compiled as `run` compiles it, without
// devices, health checks or learnt neighbours. What had to be assumed instead is kept, to be told.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/tables/compile_snapshot.h"
#include "ctrl/tables/id_registry.h"
#include "dataplane/tables/forwarding_snapshot.h"
#include "drivers/result.h"

namespace weir {

struct OfflineWorld {
    // What holds from some time on, counted from the first packet.
    struct Stage {
        Duration from{0};
        std::unique_ptr<const ForwardingSnapshot> snapshot;
        std::vector<BackendId> down;
    };
    Config config;
    IdRegistry ids;
    CompiledWorld compiled;
    std::vector<Stage> stages;             // one at least; the first is from 0 on
    std::size_t stage = 0;                 // the present one
    std::vector<std::string> assumptions;  // sentences: zero key, made-up MACs ...

    explicit OfflineWorld(const HashKey& key) : compiled(key, true) {}
    [[nodiscard]] const ForwardingSnapshot& snapshot() const { return *stages[stage].snapshot; }
    [[nodiscard]] const std::vector<BackendId>& down() const { return stages[stage].down; }
};

// Reads and validates `config_file`. Warnings go to stderr; the errors all become one Error.
[[nodiscard]] Result<Config> read_offline_config(const std::string& config_file);

// The same, and compiles it. `down` are "POOL/NAME" of backends that count as dead, all the time or from and
// to a time after the first packet: "POOL/NAME@5s-10m". `workers`: in the place of the file's; 0: those.
[[nodiscard]] Result<std::unique_ptr<OfflineWorld>> make_offline_world(const std::string& config_file,
                                                                       const std::vector<std::string>& down,
                                                                       unsigned workers = 0);

}  // namespace weir
