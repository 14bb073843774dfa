#include "ctrl/health/curl_probe.h"

#include <fmt/format.h>
#include <linux/tcp.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "ctrl/config/diagnostics.h"
#include "ctrl/health/probe_socket.h"
#include "dataplane/net/address_text.h"

namespace weir {
namespace {

// What a probe reads at most. libcurl reads this much at a time.
constexpr std::size_t kReadSize = 4 << 10, kMostHeaders = 16 << 10;
// What libcurl may hold of a header line, and OpenSSL of a handshake, before it counts as a flood.
constexpr std::size_t kMostUnseen = 24 << 10;
// So few reads cannot be a flood, and most probes need no more.
constexpr unsigned kFewReads = 4;
// A renewed ca_file is in force after this.
constexpr long kCaCacheSeconds = 60;

tcp_info info_of(int fd) {
    tcp_info info{};
    socklen_t length = sizeof(info);
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
    return info;
}

// Bytes that were read from a TCP socket so far.
std::size_t read_from(int fd) {
    int unread = 0;
    if (ioctl(fd, FIONREAD, &unread) != 0) return 0;
    return static_cast<std::size_t>(info_of(fd).tcpi_bytes_received) - static_cast<std::size_t>(unread);
}

}  // namespace

CurlProbe::CurlProbe(const ProbeSpec& spec, CurlProbes& probes, Conclude conclude)
    : spec_(spec), probes_(probes), conclude_(std::move(conclude)), transfer_(probes.take()) {}

CurlProbe::~CurlProbe() {
    if (transfer_ == nullptr) return;
    if (running_) curl_multi_remove_handle(probes_.multi_, transfer_);
    probes_.give_back(transfer_);
    curl_slist_free_all(headers_);
    curl_slist_free_all(connect_to_);
}

void CurlProbe::add_header(const std::string& line) { headers_ = curl_slist_append(headers_, line.c_str()); }

unsigned CurlProbe::status() const {
    long code = 0;
    curl_easy_getinfo(transfer_, CURLINFO_RESPONSE_CODE, &code);
    return static_cast<unsigned>(code);
}

void CurlProbe::set_common_options() {
    const std::string address = to_text(spec_.destination());
    const std::string literal = spec_.destination().is_v4() ? address : fmt::format("[{}]", address);
    const bool tls = spec_.protocol == ProbeProtocol::https;
    // The name in the URL becomes SNI and is what the certificate must be for; the Host header is set as it
    // stands.
    const std::string name =
        tls && !spec_.host.empty() ? spec_.host.substr(0, spec_.host.find(':')) : literal;
    set(CURLOPT_URL, fmt::format("{}://{}:{}/", tls ? "https" : "http", name, spec_.port).c_str());
    set(CURLOPT_REQUEST_TARGET, spec_.path.c_str());  // as it stands: no dots resolved, no fragment cut
    const bool usual =
        spec_.port == (tls ? 443 : 80);  // RFC 9110 7.2: a port that is not goes with the address
    const std::string authority = usual ? literal : fmt::format("{}:{}", literal, spec_.port);
    add_header("Host: " + (spec_.host.empty() ? authority : spec_.host));
    set(CURLOPT_PROXY, "");  // whatever stands in the environment
    // No name is ever resolved, but libcurl would remember each address and walk all of them with each probe.
    set(CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    if (name != literal) {
        connect_to_ = curl_slist_append(nullptr, fmt::format("::{}:{}", literal, spec_.port).c_str());
        set(CURLOPT_CONNECT_TO, connect_to_);
    }
    if (spec_.proxy_header) set(CURLOPT_HAPROXYPROTOCOL, 1L);
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(spec_.timeout.count()) + 1'000);  // ours comes first
    set(CURLOPT_FRESH_CONNECT, 1L);
    set(CURLOPT_FORBID_REUSE, 1L);
    set(CURLOPT_BUFFERSIZE, long{kReadSize});
    set(CURLOPT_USERAGENT, "weir-health-check");
    set(CURLOPT_PRIVATE, static_cast<void*>(this));
    set(CURLOPT_ERRORBUFFER, trouble_);
    set(CURLOPT_OPENSOCKETFUNCTION, &CurlProbe::open_socket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
    set(CURLOPT_HEADERFUNCTION, &CurlProbe::take_header);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &CurlProbe::take_body);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    if (tls) set_tls_options();
}

void CurlProbe::set_tls_options() {
    set(CURLOPT_SSL_VERIFYPEER, spec_.verify ? 1L : 0L);
    set(CURLOPT_SSL_VERIFYHOST, spec_.verify ? 2L : 0L);
    // A whole handshake each time, as a client's.
    set(CURLOPT_SSL_SESSIONID_CACHE, 0L);
    if (!spec_.verify) return;
    // Parsing the system's certificates takes longer than all the rest. libcurl keeps them if they come from
    // a file.
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));
    set(CURLOPT_CA_CACHE_TIMEOUT, kCaCacheSeconds);
    if (!spec_.ca_file.empty()) set(CURLOPT_CAINFO, spec_.ca_file.c_str());
}

void CurlProbe::start() {
    if (transfer_ == nullptr) return conclude_({std::nullopt, "out of memory"});
    set_common_options();
    set_options();
    set(CURLOPT_HTTPHEADER, headers_);
    running_ = true;
    probes_.begin(transfer_);
}

Waiting CurlProbe::waiting() const {
    constexpr std::uint8_t kEstablished =
        1;  // TCP_ESTABLISHED, which the kernel's and the C library's headers both define
    if (socket_ < 0 || info_of(socket_).tcpi_state != kEstablished) return {};
    curl_off_t secured = 0;
    curl_easy_getinfo(transfer_, CURLINFO_APPCONNECT_TIME_T, &secured);
    if (spec_.protocol == ProbeProtocol::https && secured == 0)
        return {"connected, but no TLS handshake", false};
    return {received_ == 0 ? "connected, but no answer" : "no complete answer", false};
}

bool CurlProbe::is_flooding() {
    if (concluded_) return true;
    if (++reads_ <= kFewReads || read_from(socket_) <= received_ + kMostUnseen) return false;
    end({ProbeOutcome::failed, "answers more than a probe reads"});
    return true;
}

void CurlProbe::end(Verdict verdict) {
    if (std::exchange(concluded_, true)) return;
    conclude_(std::move(verdict));
}

void CurlProbe::done(CURLcode code) { end(code == CURLE_OK || enough_ ? judge() : verdict_of(code)); }

Verdict CurlProbe::verdict_of(CURLcode code) const {
    const auto failed = [](std::string answer) { return Verdict{ProbeOutcome::failed, std::move(answer)}; };
    long os_error = socket_error_;
    if (os_error == 0) curl_easy_getinfo(transfer_, CURLINFO_OS_ERRNO, &os_error);
    const std::string words = *trouble_ != '\0' ? trouble_ : curl_easy_strerror(code);
    switch (code) {
        case CURLE_COULDNT_CONNECT:
        case CURLE_SEND_ERROR:
        case CURLE_RECV_ERROR:
            return os_error != 0 ? verdict_of_error(static_cast<int>(os_error), spec_.address)
                                 : failed(words);
        case CURLE_GOT_NOTHING:
            return failed(spec_.protocol == ProbeProtocol::grpc ? "no HTTP/2 answer: no gRPC there?"
                                                                : "connection closed without an answer");
        case CURLE_PARTIAL_FILE:
            return failed("answer ends early");
        case CURLE_UNSUPPORTED_PROTOCOL:
        case CURLE_WEIRD_SERVER_REPLY:
            return failed("answer is not HTTP");
        case CURLE_HTTP2:
        case CURLE_HTTP2_STREAM:
            return failed("answer is not HTTP/2: " + words);
        case CURLE_PEER_FAILED_VERIFICATION:
            return failed(certificate_trouble());
        case CURLE_SSL_CACERT_BADFILE:
            return failed(fmt::format("ca_file {} cannot be read", in_quotes(spec_.ca_file)));
        case CURLE_SSL_CONNECT_ERROR:
            // A reset amid the handshake has no words of TLS.
            return failed(os_error == ECONNRESET ? "connection reset in the TLS handshake" : "TLS: " + words);
        case CURLE_WRITE_ERROR:
            return failed("answers more than a probe reads");
        case CURLE_OUT_OF_MEMORY:
            // libcurl's word for a header line beyond its own limit, too.
            if (reads_ > 1) return failed("answers more than a probe reads");
            return {std::nullopt, words};
        default:
            return failed(words);
    }
}

// "SSL certificate problem: certificate has expired"; "SSL: no alternative certificate subject name matches
// ...".
std::string CurlProbe::certificate_trouble() const {
    constexpr std::string_view kProblem = "SSL certificate problem: ";
    const std::string_view words = trouble_;
    if (const auto at = words.find(kProblem); at != std::string_view::npos)
        return std::string(words.substr(at + kProblem.size()));
    if (words.find("subject name") != std::string_view::npos)
        return fmt::format("certificate is not for {}",
                           in_quotes(spec_.host.empty() ? to_text(spec_.destination()) : spec_.host));
    return fmt::format("certificate: {}", words);
}

std::size_t CurlProbe::take_part(std::string_view part, bool header) {
    received_ += part.size();
    if (header && (header_bytes_ += part.size()) > kMostHeaders) return 0;
    if (header ? on_header(part) : on_body(part)) return part.size();
    enough_ = true;
    return CURL_WRITEFUNC_ERROR;
}

curl_socket_t CurlProbe::open_socket(void* self, curlsocktype /*purpose*/, curl_sockaddr* address) {
    auto& probe = *static_cast<CurlProbe*>(self);
    const int fd = open_probe_socket(probe.spec_, address->family, address->socktype, address->protocol,
                                     probe.probes_.events_.ports());
    if (fd < 0) {
        probe.socket_error_ = -fd;
        return CURL_SOCKET_BAD;
    }
    // Closing sends RST, as of tcp probes: no TIME_WAIT, and a server that has more to say hears that nobody
    // listens.
    const linger abort{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
    probe.socket_ = fd;
    return fd;
}

std::size_t CurlProbe::take_header(const char* data, std::size_t size, std::size_t count, void* self) {
    return static_cast<CurlProbe*>(self)->take_part({data, size * count}, true);
}

std::size_t CurlProbe::take_body(const char* data, std::size_t size, std::size_t count, void* self) {
    return static_cast<CurlProbe*>(self)->take_part({data, size * count}, false);
}

}  // namespace weir
