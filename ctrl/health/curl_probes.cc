#include "ctrl/health/curl_probes.h"

#include "ctrl/health/curl_probe.h"

namespace weir {
namespace {

// Beyond these a transfer's memory goes back: probes come evenly, but for a black hole's.
constexpr std::size_t kMostIdleTransfers = 256;

CurlProbe& probe_of(CURL* transfer) {
    char* probe = nullptr;
    curl_easy_getinfo(transfer, CURLINFO_PRIVATE, &probe);
    return *reinterpret_cast<CurlProbe*>(probe);
}

}  // namespace

CurlProbes::CurlProbes(ProbeEvents& events) : events_(events) {
    // Once a process and for good: libcurl's global state has no owner.
    static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
    static_cast<void>(ready);
    multi_ = curl_multi_init();
    curl_multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &CurlProbes::on_socket);
    curl_multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &CurlProbes::on_timer);
    curl_multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
    curl_multi_setopt(multi_, CURLMOPT_PIPELINING, long{CURLPIPE_NOTHING});
}

CurlProbes::~CurlProbes() {
    for (CURL* transfer : idle_) curl_easy_cleanup(transfer);
    curl_multi_cleanup(multi_);
}

CURL* CurlProbes::take() {
    if (idle_.empty()) return curl_easy_init();
    CURL* transfer = idle_.back();
    idle_.pop_back();
    return transfer;
}

void CurlProbes::give_back(CURL* transfer) {
    if (idle_.size() >= kMostIdleTransfers) return curl_easy_cleanup(transfer);
    curl_easy_reset(transfer);
    idle_.push_back(transfer);
}

void CurlProbes::begin(CURL* transfer) {
    curl_multi_add_handle(multi_, transfer);
    act(CURL_SOCKET_TIMEOUT, 0);  // libcurl begins a transfer when its timer strikes, at once
}

void CurlProbes::act(curl_socket_t socket, int events) {
    int running = 0;
    curl_multi_socket_action(multi_, socket, events, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
        if (message->msg == CURLMSG_DONE) probe_of(message->easy_handle).done(message->data.result);
    }
}

void CurlProbes::serve(Time now) {
    if (!wake_at_ || *wake_at_ > now) return;
    wake_at_.reset();
    act(CURL_SOCKET_TIMEOUT, 0);
}

void CurlProbes::on_ready(int fd, std::uint32_t events) {
    if ((events & EPOLLIN) != 0 && by_socket_[static_cast<std::size_t>(fd)]->is_flooding()) return;
    int action = 0;
    if ((events & (EPOLLIN | EPOLLRDHUP)) != 0) action |= CURL_CSELECT_IN;
    if ((events & EPOLLOUT) != 0) action |= CURL_CSELECT_OUT;
    if ((events & (EPOLLERR | EPOLLHUP)) != 0) action |= CURL_CSELECT_ERR;
    act(fd, action);
}

int CurlProbes::on_socket(CURL* transfer, curl_socket_t socket, int what, void* self, void* /*known*/) {
    auto& probes = *static_cast<CurlProbes*>(self);
    if (what == CURL_POLL_REMOVE) {
        probes.events_.forget(socket);
        return 0;
    }
    std::uint32_t interest = 0;
    if ((what & CURL_POLL_IN) != 0) interest |= EPOLLIN;
    if ((what & CURL_POLL_OUT) != 0) interest |= EPOLLOUT;
    const auto place = static_cast<std::size_t>(socket);
    if (place >= probes.by_socket_.size()) probes.by_socket_.resize(place + 1);
    probes.by_socket_[place] = &probe_of(transfer);
    return probes.events_.watch(socket, interest, probes) ? 0 : -1;
}

int CurlProbes::on_timer(CURLM* /*multi*/, long delay_ms, void* self) {
    auto& probes = *static_cast<CurlProbes*>(self);
    if (delay_ms < 0)
        probes.wake_at_.reset();
    else
        probes.wake_at_ = std::chrono::steady_clock::now() + std::chrono::milliseconds(delay_ms);
    return 0;
}

}  // namespace weir
