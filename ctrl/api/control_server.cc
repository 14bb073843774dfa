#include "ctrl/api/control_server.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace weir {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kReadBytes = 64 << 10;
constexpr int kAcceptedAtOnce = 16;

Peer peer_of(int fd) {
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0)
        return {static_cast<uid_t>(-1), 0};
    return {credentials.uid, credentials.pid};
}

}  // namespace

class ControlServer::Client : public std::enable_shared_from_this<Client> {
  public:
    Client(ControlServer& server, int fd) : server_(server), fd_(fd), peer_(peer_of(fd)) {}
    ~Client() {
        watch_.reset();
        ::close(fd_);
    }
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    void start() {
        watch_ = server_.loop_.watch(fd_, [this] { on_event(); });
        update();
    }
    // What it has not finished, or not taken, for too long.
    [[nodiscard]] bool is_late(Clock::time_point now) const {
        return !asking_ && (!in_.empty() || !out_.empty()) && now - progress_ > kPatience;
    }
    [[nodiscard]] bool is_asking() const { return asking_; }
    [[nodiscard]] Clock::time_point last_progress() const { return progress_; }

  private:
    void on_event() {
        const auto self = shared_from_this();  // until the end of this function
        const bool alive = out_.empty() ? receive() : send();
        if (!alive) return server_.remove(*this);
        next();
    }
    // False: the client has gone.
    bool receive() {
        char bytes[kReadBytes];
        const ssize_t got = ::read(fd_, bytes, sizeof(bytes));
        if (got < 0) return errno == EAGAIN || errno == EINTR;
        // A request begins here: one more byte now and then does not extend its time.
        if (in_.empty()) progress_ = Clock::now();
        in_.append(bytes, static_cast<std::size_t>(got));
        ended_ = ended_ || got == 0;
        return true;
    }
    bool send() {
        const ssize_t sent = ::send(fd_, out_.data(), out_.size(), MSG_NOSIGNAL);
        if (sent < 0) return errno == EAGAIN || errno == EINTR;
        progress_ = Clock::now();
        out_.erase(0, static_cast<std::size_t>(sent));
        return true;
    }
    // The next request, if there is one and the last is answered.
    void next() {
        if (asking_ || !out_.empty()) return update();
        const std::size_t end = in_.find('\n', searched_);
        const bool too_long = (end == std::string::npos ? in_.size() : end) > kMaxRequestBytes;
        if (too_long || refused_) return refuse();
        if (end == std::string::npos) {
            searched_ = in_.size();
            if (ended_) return server_.remove(*this);
            return update();
        }
        const auto request = read_request(std::string_view(in_).substr(0, end));
        in_.erase(0, end + 1);
        searched_ = 0;
        progress_ = Clock::now();
        asking_ = true;
        update();
        const auto reply = [weak = weak_from_this()](const Result<nlohmann::ordered_json>& answer) {
            if (const auto client = weak.lock()) client->answer(answer);
        };
        if (!request) return reply(tl::make_unexpected(request.error()));
        server_.handler_(*request, peer_, reply);
    }
    void answer(const Result<nlohmann::ordered_json>& answer) {
        asking_ = false;
        progress_ = Clock::now();
        out_ = answer_line(answer);
        if (!send()) return server_.remove(*this);
        if (!out_.empty() || (in_.empty() && !ended_)) return update();
        // Others come first.
        server_.loop_.after(std::chrono::milliseconds(0), [weak = weak_from_this()] {
            if (const auto client = weak.lock()) client->next();
        });
    }
    // Where the next request would begin is not known: the client is told, then left.
    void refuse() {
        if (refused_) return server_.remove(*this);
        refused_ = true;
        in_.clear();
        answer(operator_error(fmt::format("a request has at most {} bytes; send several", kMaxRequestBytes)));
        if (out_.empty()) server_.remove(*this);
    }
    void update() { watch_->want(!asking_ && out_.empty() && !ended_, !out_.empty()); }

    ControlServer& server_;
    const int fd_;
    const Peer peer_;
    std::string in_, out_;
    std::size_t searched_ = 0;  // bytes of in_ that have no line feed
    bool asking_ = false, ended_ = false, refused_ = false;
    Clock::time_point progress_ = Clock::now();
    std::unique_ptr<ControlLoop::Watch> watch_;
};

ControlServer::ControlServer(ControlSocket socket, ControlLoop& loop, Handler handler)
    : socket_(std::move(socket)), loop_(loop), handler_(std::move(handler)) {
    watch_ = loop_.watch(socket_.fd(), [this] { accept_clients(); });
    watch_->want(true, false);
}

ControlServer::~ControlServer() = default;

void ControlServer::accept_clients() {
    for (int i = 0; i < kAcceptedAtOnce; ++i) {
        const int fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            admit(fd);
            continue;
        }
        // Without descriptors the socket would stay readable: each_second() tries again.
        if (errno == EMFILE || errno == ENFILE) watch_->want(false, false);
        return;
    }
}

void ControlServer::admit(int fd) {
    if (clients_.size() >= kMaxClients && !make_room()) {
        const std::string words = answer_line(
            machine_error(fmt::format("{} clients wait for answers already; try again later", kMaxClients)));
        (void)::send(fd, words.data(), words.size(), MSG_NOSIGNAL);
        ::close(fd);
        return;
    }
    clients_.push_back(std::make_shared<Client>(*this, fd));
    clients_.back()->start();
}

bool ControlServer::make_room() {
    const auto silent = std::ranges::min_element(clients_, {}, [](const auto& client) {
        return client->is_asking() ? Clock::time_point::max() : client->last_progress();
    });
    if ((*silent)->is_asking()) return false;
    clients_.erase(silent);
    return true;
}

void ControlServer::remove(const Client& client) {
    clients_.remove_if([&](const auto& other) { return other.get() == &client; });
}

void ControlServer::each_second() {
    watch_->want(true, false);
    const auto now = Clock::now();
    clients_.remove_if([&](const auto& client) { return client->is_late(now); });
}

}  // namespace weir
