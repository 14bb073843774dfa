// One request to the weir behind a control socket, and its answer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "ctrl/api/protocol.h"
#include "drivers/result.h"

namespace weir {

class ControlClient {
  public:
    // The error says why there is nobody, and what to do.
    static Result<ControlClient> connect(const std::string& socket);
    ~ControlClient();
    ControlClient(ControlClient&& other) noexcept;
    ControlClient& operator=(ControlClient&&) = delete;
    ControlClient(const ControlClient&) = delete;

    // Waits for the answer, at most a minute.
    Result<nlohmann::ordered_json> ask(const Request& request);

  private:
    ControlClient(std::string socket, int fd) : socket_(std::move(socket)), fd_(fd) {}
    Result<void> send(std::string_view bytes) const;
    Result<std::string> receive_line();

    std::string socket_;
    int fd_;
    std::string received_;
};

}  // namespace weir
