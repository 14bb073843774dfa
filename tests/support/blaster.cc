// Sends the frames of a capture out of a network device, over and over: junk at full speed, or one probe a
// millisecond.
//
//     blaster DEVICE CAPTURE SECONDS [RATE]     RATE in frames a second, default as fast as it goes; needs
//                                               CAP_NET_RAW; prints the frames sent, and those a second
//
// The device's queue is passed by (PACKET_QDISC_BYPASS): a frame that the other side has no room for is gone,
// as on a wire.
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <pcap/pcap.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr unsigned kBatch = 64;

[[noreturn]] void fail(const std::string& what) {
    std::fprintf(stderr, "blaster: %s\n", what.c_str());
    std::exit(1);
}

std::vector<std::vector<std::uint8_t>> read_frames(const char* file) {
    char why[PCAP_ERRBUF_SIZE];
    pcap_t* capture = pcap_open_offline(file, why);
    if (capture == nullptr) fail(why);
    std::vector<std::vector<std::uint8_t>> frames;
    pcap_pkthdr* header = nullptr;
    const std::uint8_t* bytes = nullptr;
    while (pcap_next_ex(capture, &header, &bytes) == 1) frames.emplace_back(bytes, bytes + header->caplen);
    pcap_close(capture);
    if (frames.empty()) fail(std::string(file) + ": no frames");
    return frames;
}

int open_device(const char* device) {
    const int fd = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);  // protocol 0: it receives nothing
    if (fd < 0) fail(std::string("no packet socket: ") + std::strerror(errno));
    sockaddr_ll address{.sll_family = AF_PACKET, .sll_ifindex = static_cast<int>(if_nametoindex(device))};
    const int on = 1;
    if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        ::setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof(on)) != 0)
        fail(std::string(device) + ": " + std::strerror(errno));
    return fd;
}

// Sends `count` frames, `first` and those behind it; frames that the device refuses are not counted.
unsigned send_frames(int fd, std::vector<mmsghdr>& messages, std::size_t first, unsigned count) {
    const auto many = static_cast<unsigned>(std::min<std::size_t>(count, messages.size() - first));
    const int sent = ::sendmmsg(fd, &messages[first], many, 0);
    if (sent < 0 && errno != ENOBUFS && errno != EAGAIN) fail(std::string("send: ") + std::strerror(errno));
    return sent < 0 ? 0 : static_cast<unsigned>(sent);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 4 || argc > 5) fail("usage: blaster DEVICE CAPTURE SECONDS [RATE]");
    auto frames = read_frames(argv[2]);
    const int fd = open_device(argv[1]);
    const std::chrono::duration<double> seconds(std::atof(argv[3]));
    const double rate = argc == 5 ? std::atof(argv[4]) : 0;
    std::vector<iovec> vectors(frames.size());
    std::vector<mmsghdr> messages(frames.size());
    for (std::size_t i = 0; i < frames.size(); ++i) {
        vectors[i] = {.iov_base = frames[i].data(), .iov_len = frames[i].size()};
        messages[i].msg_hdr.msg_iov = &vectors[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    const auto begun = Clock::now();
    std::uint64_t sent = 0;
    std::size_t next = 0;
    for (auto now = begun; now - begun < seconds; now = Clock::now()) {
        const double due =
            std::chrono::duration<double>(now - begun).count() * rate - static_cast<double>(sent);
        if (rate > 0 && due < 1) {
            std::this_thread::sleep_for(std::chrono::microseconds(100));
            continue;
        }
        const unsigned now_sent = send_frames(fd, messages, next, rate > 0 ? 1 : kBatch);
        sent += now_sent;
        next = (next + std::max(now_sent, 1u)) % frames.size();
    }
    const double took = std::chrono::duration<double>(Clock::now() - begun).count();
    std::printf("%llu frames, %.0f a second\n", static_cast<unsigned long long>(sent),
                static_cast<double>(sent) / took);
}
