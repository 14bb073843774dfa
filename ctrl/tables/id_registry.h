// Names -> ids that mean the same thing in every snapshot.
//
// Theory of operation. Flow tables hold BackendIds and outlive snapshots, so an id may be given to another
// backend only when no flow table can hold it any more. The life of a backend id:
//
//   serving    in the configuration
//   draining   left out of the configuration, its pool is still there: known flows pass, no new ones. Ends
//              when every worker uses a snapshot that says so and none holds a flow of it, or by cut()
//   gone       absent from snapshots since generation G: a known flow of it is a miss. Ends when every
//              worker uses generation G or later and has then completed two sweeps of its flow table: the
//              first may have begun before, the second began after and has removed the last entry
//   free       the id may be given away
//
// The same (pool, name, address) that comes back while draining or gone has its old id again: entries that
// still hold it mean it. A removed pool takes its backends to `gone` at once, since its services went too
// (validate_config) and no packet can reach them. Pools and services know serving, gone and free.
//
// Counters are read with relaxed loads. Every rule therefore uses the generation that all workers had reached
// at the *previous* observe(): what a worker had counted before it moved to that generation is visible by
// now.
//
// Pure logic, no clock and no threads; the control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctrl/config/config.h"
#include "ctrl/tables/config_delta.h"
#include "ctrl/tables/sweep_view.h"
#include "dataplane/ids.h"
#include "drivers/result.h"

namespace weir {

// Gives the smallest free id first, so that tables stay dense.
class IdStock {
  public:
    explicit IdStock(std::uint32_t limit) : limit_(limit) {}
    [[nodiscard]] std::size_t available() const { return free_.size() + (limit_ - next_); }
    // Precondition: available.
    std::uint32_t take();
    void give_back(std::uint32_t id) { free_.push(id); }
    // Every id ever given is below.
    [[nodiscard]] std::uint32_t high_water() const { return next_; }

  private:
    std::uint32_t limit_;
    std::uint32_t next_ = 0;
    std::priority_queue<std::uint32_t, std::vector<std::uint32_t>, std::greater<>> free_;
};

enum class IdPhase : std::uint8_t { serving, draining, gone };

class IdRegistry {
  public:
    struct Backend {
        std::string name;
        IpAddress address;
        BackendId id = kNoBackend;
        IdPhase phase = IdPhase::serving;
        std::uint64_t since = 0;                   // first generation in this phase
        bool drained = false;                      // draining and no flow left: gone in the next snapshot
        std::optional<ForwardingMode> forwarding;  // its own, as last configured

        // Not in the next snapshot any more.
        [[nodiscard]] bool is_over() const {
            return phase == IdPhase::gone || (phase == IdPhase::draining && drained);
        }
    };
    struct Pool {
        PoolId id{};
        IdPhase phase = IdPhase::serving;
        std::uint64_t since = 0;
        std::size_t draining = 0;       // backends in that phase
        std::vector<Backend> backends;  // sorted by name, then address
    };
    struct Progress {
        std::size_t drained = 0;  // backends whose drain has ended: publish a snapshot without them
        std::size_t freed = 0;    // ids of any kind that may be given away again
    };

    // Gives every pool, backend and service of `delta.next()` its id, for the snapshot `generation`. An error
    // (too many) changes nothing. Precondition: validate_config accepted the configuration, and the previous
    // one that `delta` was made from is the one assigned last.
    Result<void> assign(const ConfigDelta& delta, std::uint64_t generation);
    // What the workers' counters tell; call it every tick.
    Progress observe(const SweepView& workers);
    // Ends the drain of what bears that name, flows or not: the next end_drains() takes it. Returns how many
    // (a name may drain at several addresses).
    std::size_t cut(const BackendKey& backend);
    // Backends whose drain has ended are absent from the snapshot `generation` on. Returns their pools, each
    // once.
    std::vector<PoolId> end_drains(std::uint64_t generation);

    // Ids given since the last call that had another owner before: their counters do not begin at 0.
    struct Reused {
        std::vector<BackendId> backends;
        std::vector<ServiceId> services;
    };
    [[nodiscard]] Reused take_reused() { return std::exchange(reused_, {}); }

    // Null if it is not in the configuration.
    [[nodiscard]] const Pool* find_pool(std::string_view name) const;
    // Whether the id still means a backend of the pool: serving, or draining and not cut.
    [[nodiscard]] bool knows(std::string_view pool, BackendId id) const;
    [[nodiscard]] ServiceId service_id(const std::string& name, const IpAddress& vip) const;
    // Every id ever given is below; counters and tables have that size.
    [[nodiscard]] std::uint32_t backend_ids() const { return backend_stock_.high_water(); }
    [[nodiscard]] std::uint32_t service_ids() const { return service_stock_.high_water(); }
    [[nodiscard]] std::uint32_t pool_ids() const { return pool_stock_.high_water(); }
    [[nodiscard]] std::size_t draining() const { return draining_; }
    // Generations whose removed ids still wait for the workers' sweeps.
    [[nodiscard]] std::size_t waiting() const { return waits_.size(); }

  private:
    struct Service {
        ServiceId id = kNoService;
        IdPhase phase = IdPhase::serving;
        std::uint64_t since = 0;
    };
    // Ids that are gone since one generation, and the sweeps that every worker must complete.
    struct SweepWait {
        bool reached = false;
        std::vector<std::uint64_t> needed;
    };
    struct PoolPlan {
        const PoolConfig* config;
        std::vector<Backend> backends;
    };
    using ServiceKey = std::pair<std::string, IpAddress>;

    [[nodiscard]] static std::vector<Backend> merge(const PoolConfig& config, const Pool* known,
                                                    std::uint64_t generation);
    [[nodiscard]] Result<void> check_room(const std::vector<PoolPlan>& plans, const ConfigDelta& delta) const;
    void commit_pool(PoolPlan& plan);
    void count_draining(Pool& pool);
    std::size_t observe_drains(const SweepView& workers);
    void remove_pool(const std::string& name, std::uint64_t generation);
    void assign_services(const Config& next, std::uint64_t generation);
    void free_gone(std::uint64_t generation, Progress& progress);

    std::map<std::string, Pool, std::less<>> pools_;
    std::map<ServiceKey, Service> services_;
    IdStock backend_stock_{kMaxBackends};
    IdStock service_stock_{kMaxServices};
    IdStock pool_stock_{kMaxBackends};
    std::map<std::uint64_t, SweepWait> waits_;  // by generation
    Reused reused_;
    std::size_t draining_ = 0;
    std::set<Pool*> draining_pools_;  // with a backend in that phase; a map's elements stay where they are
    std::uint64_t reached_ = 0;       // generation that every worker used at the last observe()
};

}  // namespace weir
