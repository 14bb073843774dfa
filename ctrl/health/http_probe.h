// http, https: the status code matches, and the body contains a text where one is asked for. Redirects are
// answers like others and are not followed.
#pragma once

#include "ctrl/health/curl_probe.h"

namespace weir {

class HttpProbe final : public CurlProbe {
  public:
    using CurlProbe::CurlProbe;

  private:
    void set_options() override;
    bool on_header(std::string_view line) override;
    bool on_body(std::string_view part) override;
    Verdict judge() override;

    std::size_t searched_ = 0;  // of the body
    std::string tail_;          // of it: the text may begin there
    bool found_ = false;
};

}  // namespace weir
