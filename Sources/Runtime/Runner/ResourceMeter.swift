import Glibc
import Session

/// How much of what the host gives this process is used, in percent. Reads `/proc` and the control group's files, which are memory.
enum ResourceMeter {
    /// The larger of the machine's share and that of each control group (version 2) above this process.
    static func memoryPercent(root: String = "") -> Int? {
        let machine = text("\(root)/proc/meminfo").flatMap(machinePercent)
        let groups = text("\(root)/proc/self/cgroup").map(groupFolders) ?? []
        let limited = groups.compactMap { folder -> Int? in
            let folder = "\(root)/sys/fs/cgroup\(folder)"
            guard let limit = text("\(folder)/memory.max"), let current = text("\(folder)/memory.current") else { return nil }
            return groupPercent(limit: limit, current: current, statistics: text("\(folder)/memory.stat") ?? "")
        }
        return ([machine].compactMap { $0 } + limited).max()
    }

    /// What is neither free nor could be freed at once (proc_meminfo(5)).
    static func machinePercent(_ meminfo: String) -> Int? {
        guard let total = number(after: "MemTotal:", in: meminfo), let available = number(after: "MemAvailable:", in: meminfo), total > 0
        else { return nil }
        return Int((total - min(available, total)) * 100 / total)
    }

    /// Without what was only read from files a while ago, which the kernel drops before it refuses anything.
    static func groupPercent(limit: String, current: String, statistics: String) -> Int? {
        guard let limit = UInt64(trimmed(limit)), let current = UInt64(trimmed(current)), limit > 0, current < 1 << 56 else { return nil }
        let inactive = number(after: "inactive_file", in: statistics) ?? 0
        return Int(min((current - min(inactive, current)) * 100 / limit, 1000))
    }

    /// `0::/system.slice/tandemd.service`: that folder and those above it, without the root, which has no limit.
    static func groupFolders(_ text: String) -> [String] {
        guard let line = text.split(whereSeparator: \.isNewline).first(where: { $0.hasPrefix("0::/") }) else { return [] }
        var folders: [String] = []
        var path = ""
        for part in line.dropFirst(3).split(separator: "/") where part != ".." {
            path += "/\(part)"
            folders.append(path)
        }
        return folders
    }

    /// Of those that the process may have open (RLIMIT_NOFILE).
    static func descriptorsPercent() -> Int? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur > 0 else { return nil }
        guard let folder = opendir("/proc/self/fd") else { return errno == EMFILE ? 100 : nil }
        defer { closedir(folder) }
        // `.`, `..`, and the folder's own.
        var count = -3
        while readdir(folder) != nil { count += 1 }
        return Int(min(UInt64(max(0, count)) * 100 / UInt64(limit.rlim_cur), 100))
    }

    private static func number(after name: String, in text: String) -> UInt64? {
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix("\(name) ") }
        // None of them is near this: a product must not trap.
        return line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.flatMap { $0 < 1 << 56 ? $0 : nil }
    }

    private static func text(_ path: String) -> String? {
        (try? FileContents.read(path, isSecret: false)).map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Notices when the time of day does not go on as time does.
struct ClockMeter {
    private let threshold: Duration
    /// The time of day less the time since the machine's start (which goes on while it sleeps), in nanoseconds.
    private var offset: Int64?

    init(threshold: Duration) { self.threshold = threshold }

    /// - Returns: how far it has jumped since the last look, in milliseconds, if that is far enough.
    mutating func jump(realtime: Int64, boottime: Int64) -> Int64? {
        let next = realtime &- boottime
        guard let last = offset else {
            offset = next
            return nil
        }
        let jump = next &- last
        // What drifts is followed.
        offset = next
        return jump.magnitude >= UInt64(clamping: threshold.inNanoseconds) ? jump / 1_000_000 : nil
    }

    mutating func look() -> Int64? { jump(realtime: ClockMeter.read(CLOCK_REALTIME), boottime: ClockMeter.read(CLOCK_BOOTTIME)) }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}
