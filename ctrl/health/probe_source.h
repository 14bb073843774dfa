// Where HealthMonitor's results come from: Prober in production, a list in tests. The control thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "ctrl/health/probe.h"
#include "ctrl/health/probe_spec.h"
#include "ctrl/health/prober.h"

namespace weir {

class ProbeSource {
  public:
    using Callback = std::function<void(const ProbeResult&)>;

    virtual ~ProbeSource() = default;
    // As Prober's.
    virtual ProbeId add(const ProbeSpec& spec, Duration interval, const std::string& pool,
                        Callback callback) = 0;
    virtual void remove(ProbeId id) = 0;
    virtual void probe_now(ProbeId id) = 0;
};

class ProberSource final : public ProbeSource {
  public:
    // `prober` outlives this.
    explicit ProberSource(Prober& prober) : prober_(prober) {}
    ProbeId add(const ProbeSpec& spec, Duration interval, const std::string& pool,
                Callback callback) override {
        return prober_.add(spec, interval, pool, std::move(callback));
    }
    void remove(ProbeId id) override { prober_.remove(id); }
    void probe_now(ProbeId id) override { prober_.probe_now(id); }

  private:
    Prober& prober_;
};

}  // namespace weir
