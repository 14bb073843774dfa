// Which SNAT ports a worker may give to a flow, so that the NIC brings the reply to that same worker.
//
// Theory of operation. A NIC with RSS hands a frame to the queue RETA[T(tuple)], T being the Toeplitz hash,
// which is linear: T(a ^ b) = T(a) ^ T(b) (reference: Krawczyk, "LFSR-based hashing", 1994; Microsoft,
// "Introduction to receive side scaling"). So for a reply {backend, SNAT address, backend port, SNAT port}
// T = C ^ P[SNAT port], with C the hash of the tuple with SNAT port 0 and P a table that depends on the key
// alone. Ports are kept by their *bucket*, P[port] modulo the RETA's size: whoever wants bucket b of the RETA
// takes a port of bucket b ^ C. Every port of the range is in one list, so together the workers can use all
// of them, and each its share towards every backend. Works with any key, also with one that the NIC does not
// let go of; nothing has to be written into the NIC.
//
// Built by the control core, immutable afterwards; read by any worker.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace weir {

struct L4PortRange {
    std::uint16_t first = 32'768, last = 65'535;

    [[nodiscard]] constexpr bool contains(std::uint16_t port) const noexcept {
        return first <= port && port <= last;
    }
    [[nodiscard]] constexpr std::uint32_t size() const noexcept { return 1u + last - first; }
    friend constexpr bool operator==(L4PortRange, L4PortRange) noexcept = default;
};

class SnatPorts {
  public:
    // `bit_hashes`: T of the tuple that is zero but for that bit of its destination port, bit 0 the lowest.
    // `reta`: bucket -> worker; its size is a power of two, at most 512.
    SnatPorts(L4PortRange range, const std::array<std::uint32_t, 16>& bit_hashes,
              std::span<const std::uint16_t> reta);

    // Visits the ports by which replies with the constant C = `constant` come to the worker, from one that
    // `start` chooses on, until try_port(port) is true, which is the answer, or `tries` are over: 0 (no range
    // has it).
    template <class TryPort>
    [[nodiscard]] std::uint16_t choose(std::uint32_t worker, std::uint32_t constant, std::uint64_t start,
                                       std::uint32_t tries, TryPort&& try_port) const noexcept {
        const std::vector<std::uint16_t>& owned = buckets_of_worker_[worker];
        const auto width = static_cast<std::uint32_t>(owned.size());
        const std::uint32_t places = width * longest_;
        if (places == 0) return 0;
        auto at = static_cast<std::uint32_t>(start % places);
        if (tries > places) tries = places;
        for (; tries > 0; --tries, at = at + 1 == places ? 0 : at + 1) {
            const std::uint32_t bucket = (owned[at % width] ^ constant) & mask_;
            const std::uint32_t place = first_[bucket] + at / width;
            if (place >= first_[bucket + 1]) continue;
            if (try_port(ports_[place])) return ports_[place];
        }
        return 0;
    }

    // Whose the reply is.
    [[nodiscard]] std::uint16_t owner(std::uint32_t hash) const noexcept { return reta_[hash & mask_]; }
    [[nodiscard]] L4PortRange range() const noexcept { return range_; }
    [[nodiscard]] std::uint32_t ports_of(std::uint32_t worker, std::uint32_t constant) const noexcept;

  private:
    L4PortRange range_;
    std::uint32_t mask_;
    std::uint32_t longest_ = 0;  // list
    std::vector<std::uint16_t> reta_;
    std::vector<std::uint16_t> ports_;  // by bucket
    std::vector<std::uint32_t> first_;  // of each bucket in ports_; one more behind the last
    std::vector<std::vector<std::uint16_t>> buckets_of_worker_;
};

}  // namespace weir
