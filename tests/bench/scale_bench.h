// The parts of scale_bench. Each measures one thing and adds its figures.
#pragma once

#include <string>

#include "tests/bench/scale_report.h"

namespace weir::bench {

// `program`: the weir that is started.
void measure_start(Report& report, const std::string& program);
void measure_maglev(Report& report);
void measure_changes(Report& report);
void measure_flow_table(Report& report);
// Bursts of one worker while the control core rests and while it changes pools.
void measure_bursts(Report& report);

}  // namespace weir::bench
