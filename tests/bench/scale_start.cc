// From a file to packets that may come: 1,000 pools of 100 backends, 10,000 services, 10,000 backends in one
// pool.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <optional>
#include <string_view>
#include <vector>

#include "ctrl/config/read_config.h"
#include "ctrl/world.h"
#include "tests/bench/scale_bench.h"
#include "tests/ctrl/config_builder.h"
#include "tests/dataplane/figure.h"
#include "tests/support/large_config.h"

extern char** environ;

namespace weir::bench {
namespace {

constexpr double kStartSeconds = 5;

// A child whose standard error can be read.
class Child {
  public:
    explicit Child(std::vector<std::string> arguments) {
        int ends[2];
        if (pipe(ends) != 0) return;
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        posix_spawn_file_actions_addclose(&actions, ends[0]);
        std::vector<char*> argv;
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        if (posix_spawn(&process_, argv[0], &actions, nullptr, argv.data(), environ) != 0) process_ = -1;
        posix_spawn_file_actions_destroy(&actions);
        close(ends[1]);
        log_ = fdopen(ends[0], "r");
    }
    ~Child() {
        if (log_ != nullptr) std::fclose(log_);
    }
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;

    // False if the child ended without a line that has `words`; then what it said is printed.
    [[nodiscard]] bool says(std::string_view words) {
        std::array<char, 4096> line;
        std::string all;
        while (log_ != nullptr && std::fgets(line.data(), line.size(), log_) != nullptr) {
            if (std::string_view(line.data()).find(words) != std::string_view::npos) return true;
            all += line.data();
        }
        std::fputs(all.c_str(), stderr);
        return false;
    }
    // The exit code; -1 if it was not started.
    int end(std::optional<int> signal = {}) {
        if (process_ <= 0) return -1;
        if (signal) kill(process_, *signal);
        while (log_ != nullptr && std::fgetc(log_) != EOF) {
        }
        int status = 0;
        waitpid(process_, &status, 0);
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }

  private:
    pid_t process_ = -1;
    std::FILE* log_ = nullptr;
};

// read, validate, compile, publish: in this process, without ports.
double seconds_to_publish(const std::string& file, Report& report, const std::string& what) {
    const Stopwatch watch;
    ConfigResult read = read_config(file);
    if (!read.config) std::abort();
    report.add("start: " + what + ": read and validate", watch.milliseconds() / 1e3, "s");
    CountingWorkers workers(1);
    WorldOptions options;
    options.ports = edge_facts();
    World world(std::move(options), workers.all());
    if (!world.apply(std::move(*read.config))) std::abort();
    return watch.milliseconds() / 1e3;
}

}  // namespace

void measure_start(Report& report, const std::string& program) {
    const std::pair<const char*, test::ConfigSize> sizes[] = {
        {"1,000 pools x 100 backends", {}},
        {"10,000 services", {.pools = 100, .backends = 10, .services = 10'000}},
        {"10,000 backends in a pool", {.pools = 1, .backends = 10'000, .services = 1}},
    };
    for (const auto& [name, size] : sizes) {
        const std::string what = name;
        const test::ConfigFile file(test::config_text(size));
        report.add("start: " + what + ": file to published", seconds_to_publish(file.path(), report, what),
                   "s", kStartSeconds);
        const Stopwatch check_watch;
        const int checked = Child({program, "check", "-c", file.path()}).end();
        report.add("start: " + what + ": weir check", check_watch.milliseconds() / 1e3, "s", kStartSeconds);
        const Stopwatch run_watch;
        Child run({program, "run", "-c", file.path()});
        const bool running = run.says("is running");
        report.add("start: " + what + ": weir run until it is running", run_watch.milliseconds() / 1e3, "s",
                   kStartSeconds);
        const bool ended = run.end(SIGTERM) == 0;
        const int failures = (checked == 0 ? 0 : 1) + (running ? 0 : 1) + (ended ? 0 : 1);
        report.add("start: " + what + ": commands that failed", failures, "", 0);
    }
}

}  // namespace weir::bench
