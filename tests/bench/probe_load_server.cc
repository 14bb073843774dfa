#include "tests/bench/probe_load_server.h"

#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>

namespace weir::bench {
namespace {

constexpr std::string_view kAnswer =
    "HTTP/1.1 200 OK\r\nServer: probe_load\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
    "Connection: close\r\n\r\nOK\n";

std::pair<int, std::uint16_t> listen_anywhere() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_in name{};
    name.sin_family = AF_INET;
    socklen_t length = sizeof(name);
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr*>(&name), length) != 0 || listen(fd, 4'096) != 0 ||
        getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
        std::perror("probe_load: no listening socket");
        std::exit(2);
    }
    return {fd, ntohs(name.sin_port)};
}

void accept_all(int listener, int epoll) {
    for (;;) {
        const int client = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0) return;
        epoll_event event{.events = EPOLLIN, .data = {.fd = client}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
    }
}

// What comes in one piece is a whole request: probes are small. A client that has gone is gone.
void answer(int client) {
    std::array<char, 4'096> request;
    const ssize_t got = recv(client, request.data(), request.size(), 0);
    if (got > 0) {
        send(client, kAnswer.data(), kAnswer.size(), MSG_NOSIGNAL);
        return;
    }
    close(client);
}

[[noreturn]] void serve(int tcp, int http) {
    const int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (const int listener : {tcp, http}) {
        epoll_event event{.events = EPOLLIN, .data = {.fd = listener}};
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    }
    std::array<epoll_event, 256> ready;
    for (;;) {
        const int count = epoll_wait(epoll, ready.data(), static_cast<int>(ready.size()), -1);
        for (int i = 0; i < count; ++i) {
            const int fd = ready[static_cast<std::size_t>(i)].data.fd;
            if (fd == tcp || fd == http)
                accept_all(fd, epoll);
            else
                answer(fd);
        }
    }
}

}  // namespace

void run_on(unsigned cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof(one), &one) != 0) std::perror("probe_load: sched_setaffinity");
}

ProbeServer start_probe_server(unsigned cpu) {
    const auto [tcp, tcp_port] = listen_anywhere();
    const auto [http, http_port] = listen_anywhere();
    const pid_t process = fork();
    if (process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_on(cpu);
        serve(tcp, http);
    }
    close(tcp);
    close(http);
    return {process, tcp_port, http_port};
}

}  // namespace weir::bench
