// A probe that libcurl carries out.
#pragma once

#include <curl/curl.h>

#include <cstddef>
#include <string>
#include <string_view>

#include "ctrl/health/curl_probes.h"
#include "ctrl/health/probe_spec.h"
#include "ctrl/health/running_probe.h"

namespace weir {

// One transfer. Derived classes say what to ask, and judge the answer.
class CurlProbe : public RunningProbe {
  public:
    CurlProbe(const ProbeSpec& spec, CurlProbes& probes, Conclude conclude);
    ~CurlProbe() override;
    CurlProbe(const CurlProbe&) = delete;
    CurlProbe& operator=(const CurlProbe&) = delete;

    void start() override;
    [[nodiscard]] Waiting waiting() const override;

  protected:
    virtual void set_options() = 0;
    // A header line, and the empty one that ends them; a part of the body. False ends the transfer, of which
    // nothing more is wanted: judge() comes next.
    virtual bool on_header(std::string_view line) = 0;
    virtual bool on_body(std::string_view part) = 0;
    // Of an answer that is complete or was enough.
    [[nodiscard]] virtual Verdict judge() = 0;

    template <class Value>
    void set(CURLoption option, Value value) {
        curl_easy_setopt(transfer_, option, value);
    }
    void add_header(const std::string& line);
    [[nodiscard]] unsigned status() const;
    [[nodiscard]] const ProbeSpec& spec() const { return spec_; }

  private:
    friend class CurlProbes;

    void set_common_options();
    void set_tls_options();
    void done(CURLcode code);
    // The server has sent more than any answer needs. (libcurl shows a header line only once it is complete.)
    [[nodiscard]] bool is_flooding();
    void end(Verdict verdict);
    [[nodiscard]] Verdict verdict_of(CURLcode code) const;
    [[nodiscard]] std::string certificate_trouble() const;
    std::size_t take_part(std::string_view part, bool header);

    static curl_socket_t open_socket(void* self, curlsocktype purpose, curl_sockaddr* address);
    static std::size_t take_header(const char* data, std::size_t size, std::size_t count, void* self);
    static std::size_t take_body(const char* data, std::size_t size, std::size_t count, void* self);

    const ProbeSpec& spec_;
    CurlProbes& probes_;
    Conclude conclude_;
    CURL* transfer_;
    curl_slist* headers_ = nullptr;
    curl_slist* connect_to_ = nullptr;
    int socket_ = -1;           // libcurl's, as long as the transfer runs
    int socket_error_ = 0;      // why the socket could not be opened
    std::size_t received_ = 0;  // header lines and body
    std::size_t header_bytes_ = 0;
    unsigned reads_ = 0;
    bool enough_ = false, running_ = false, concluded_ = false;
    char trouble_[CURL_ERROR_SIZE] = "";
};

}  // namespace weir
