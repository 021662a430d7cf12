import Node
import Session

/// Turns counters that only grow into what there was to do since the last look.
struct LoadMeter {
    /// The machine's processors since it started, in the kernel's ticks: `/proc/stat`, first line (proc_stat(5)).
    struct Ticks: Hashable {
        var busy: UInt64
        var all: UInt64

        /// `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; guest time is part of user time already.
        init?(line: some StringProtocol) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            let numbers = words.dropFirst().prefix(8).compactMap { UInt64($0) }
            guard words.first == "cpu", numbers.count >= 4, numbers.count == min(8, words.count - 1) else { return nil }
            // None of them is near this: a sum must not trap.
            guard numbers.allSatisfy({ $0 < 1 << 56 }) else { return nil }
            all = numbers.reduce(0, +)
            busy = all - numbers[3] - (numbers.count > 4 ? numbers[4] : 0)
        }
    }

    private var ticks: Ticks?
    private var packets: (count: UInt64, at: Instant)?

    /// - Parameters:
    ///   - text: `/proc/stat`; `nil` if it cannot be read.
    ///   - packetCount: packets that the data plane has taken and sent.
    mutating func sample(stat text: String?, packetCount: UInt64, at now: Instant) -> LoadSample {
        let next = text.flatMap { $0.split(whereSeparator: \.isNewline).first }.flatMap { Ticks(line: $0) }
        defer {
            ticks = next
            packets = (packetCount, now)
        }
        return LoadSample(cpuPercent: percent(to: next), packetsPerSecond: rate(to: packetCount, at: now))
    }

    private func percent(to next: Ticks?) -> Int? {
        // The kernel's numbers may go back a little.
        guard let last = ticks, let next, next.all > last.all, next.busy >= last.busy else { return nil }
        return min(100, Int((next.busy - last.busy) * 100 / (next.all - last.all)))
    }

    private func rate(to count: UInt64, at now: Instant) -> Int? {
        guard let last = packets, now > last.at, count >= last.count else { return nil }
        let nanoseconds = Double((now - last.at).inNanoseconds)
        return Int(min(Double(count - last.count) * 1e9 / nanoseconds, 1e12))
    }
}
