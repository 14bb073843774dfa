// weir's log: one line a sentence, on stderr, where systemd's journal or a terminal takes it. Control thread
// only: workers never log.
#pragma once

#include "ctrl/notify.h"

namespace weir {

// Sets the log up; what it returns writes to it. With a journal behind stderr the lines carry no time of
// their own.
[[nodiscard]] Notify start_log();

}  // namespace weir
