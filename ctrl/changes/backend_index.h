// Where the backends of a configuration stand, by name: a batch of thousands of changes looks up each once.
#pragma once

#include <cstddef>
#include <string_view>
#include <unordered_map>

#include "ctrl/config/config.h"

namespace weir {

class BackendIndex {
  public:
    // `config` outlives this, unchanged.
    explicit BackendIndex(const Config& config);

    [[nodiscard]] bool has_pool(std::string_view pool) const { return pools_.contains(pool); }
    // Null if the configuration has none of that name.
    [[nodiscard]] const BackendConfig* find(const BackendKey& key) const;
    // Its place in the pool's list. Precondition: find() found it.
    [[nodiscard]] std::size_t place(const BackendKey& key) const;
    // The pool's place in the configuration. Precondition: has_pool().
    [[nodiscard]] std::size_t pool_place(std::string_view pool) const {
        return pools_.find(pool)->second.place;
    }

  private:
    struct Pool {
        std::size_t place = 0;
        std::unordered_map<std::string_view, std::size_t> backends;
    };
    const Config& config_;
    std::unordered_map<std::string_view, Pool> pools_;
};

}  // namespace weir
