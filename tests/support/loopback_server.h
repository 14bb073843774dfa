// A TCP or UDP server on loopback, in a thread of its own, that does to each client what the test says.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace weir::test {

// Listens on a free port of `address`. Nobody accepts unless serve() is called.
class LoopbackServer {
  public:
    explicit LoopbackServer(int type = SOCK_STREAM, int backlog = 1'024, const char* address = "127.0.0.1")
        : fd_(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        sockaddr_in name{};
        name.sin_family = AF_INET;
        inet_pton(AF_INET, address, &name.sin_addr);
        socklen_t length = sizeof(name);
        if (bind(fd_, reinterpret_cast<sockaddr*>(&name), length) != 0) std::abort();
        if (type == SOCK_STREAM && listen(fd_, backlog) != 0) std::abort();
        getsockname(fd_, reinterpret_cast<sockaddr*>(&name), &length);
        port_ = ntohs(name.sin_port);
    }
    ~LoopbackServer() {
        stop_ = true;
        for (std::thread& thread : threads_) thread.join();
        close(fd_);
    }
    LoopbackServer(const LoopbackServer&) = delete;
    LoopbackServer& operator=(const LoopbackServer&) = delete;

    [[nodiscard]] std::uint16_t port() const { return port_; }
    [[nodiscard]] int accepted() const { return accepted_; }
    [[nodiscard]] int fd() const { return fd_; }

    // One client at a time; `talk` gets its descriptor, which is closed afterwards.
    void serve(std::function<void(int)> talk) {
        threads_.emplace_back([this, talk = std::move(talk)] {
            while (wait(fd_)) {
                const int client = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
                if (client < 0) continue;
                ++accepted_;
                talk(client);
                close(client);
            }
        });
    }
    // Every datagram is answered with what `answer` makes of it.
    void serve_datagrams(std::function<std::string(std::string)> answer) {
        threads_.emplace_back([this, answer = std::move(answer)] {
            while (wait(fd_)) {
                char buffer[2'048];
                sockaddr_in peer{};
                socklen_t size = sizeof(peer);
                const ssize_t got =
                    recvfrom(fd_, buffer, sizeof(buffer), 0, reinterpret_cast<sockaddr*>(&peer), &size);
                if (got < 0) continue;
                const std::string said = answer({buffer, static_cast<std::size_t>(got)});
                sendto(fd_, said.data(), said.size(), 0, reinterpret_cast<sockaddr*>(&peer), size);
            }
        });
    }
    // Until the client is gone or the test ends; every `pause`, and once at least.
    void repeat(int client, std::string_view text, std::chrono::milliseconds pause) const {
        do {
            if (send(client, text.data(), text.size(), MSG_NOSIGNAL) < 0) return;
            std::this_thread::sleep_for(pause);
        } while (!stop_);
    }
    // Until the client is gone or the test ends.
    void hold(int client) const {
        char byte;
        while (!stop_) {
            pollfd one{client, POLLIN, 0};
            if (poll(&one, 1, 20) > 0 && recv(client, &byte, 1, 0) <= 0) return;
        }
    }
    // The request, up to the empty line.
    static std::string read_request(int client) {
        std::string request;
        char buffer[1'024];
        while (request.find("\r\n\r\n") == std::string::npos) {
            const ssize_t got = recv(client, buffer, sizeof(buffer), 0);
            if (got <= 0) break;
            request.append(buffer, static_cast<std::size_t>(got));
        }
        return request;
    }
    static void say(int client, std::string_view text) {
        send(client, text.data(), text.size(), MSG_NOSIGNAL);
    }
    static void reset(int client) {
        const linger abort{.l_onoff = 1, .l_linger = 0};
        setsockopt(client, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    }

  private:
    [[nodiscard]] bool wait(int fd) const {
        while (!stop_) {
            pollfd one{fd, POLLIN, 0};
            if (poll(&one, 1, 20) > 0) return true;
        }
        return false;
    }

    int fd_;
    std::uint16_t port_ = 0;
    std::atomic<bool> stop_{false};
    std::atomic<int> accepted_{0};
    std::vector<std::thread> threads_;
};

}  // namespace weir::test
