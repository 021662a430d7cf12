import Cryptography
import Glibc
import Node

/// What says that a file is another than before, without reading it.
struct FileStamp: Hashable, Sendable {
    private let inode: UInt
    private let size: Int
    private let modified: [Int]

    /// `nil` when the file cannot be looked at.
    init?(_ path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        inode = status.st_ino
        size = status.st_size
        // The time of the change too: who puts an old file in place sets the other one back.
        modified = [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
    }
}

/// The files of `crls`, and what they held when they were last read whole.
///
/// A gateway runs for months and a list is good for days: somebody fetches the next one into the same file.
struct RevocationFiles: Sendable {
    struct File: Sendable {
        var path: String
        /// Taken before it was read, so that what changes meanwhile is seen the next time.
        var stamp: FileStamp?
        var lists: [RevocationList]
        /// What was last complained of, so that it is not said every time.
        fileprivate var complaint: String?

        init(path: String, stamp: FileStamp?, lists: [RevocationList]) {
            self.path = path
            self.stamp = stamp
            self.lists = lists
        }
    }

    /// What a look at the files brought.
    struct Finding: Sendable {
        /// All lists, if any of them is another.
        var lists: [RevocationList]?
        var lines: [LogLine] = []
        /// Files that could not be read, or held no list; what they held before stays.
        var failures = 0
    }

    private(set) var files: [File] = []

    var isEmpty: Bool { files.isEmpty }
    var lists: [RevocationList] { files.flatMap(\.lists) }

    mutating func append(_ file: File) { files.append(file) }

    /// Reads what has changed, and what names a time for the next list that is over.
    ///
    /// - Parameter wallSeconds: since 1970.
    mutating func refresh(wallSeconds: Int64) -> Finding {
        var finding = Finding()
        var hasChanged = false
        for index in files.indices { hasChanged = refresh(&files[index], wallSeconds: wallSeconds, &finding) || hasChanged }
        if hasChanged { finding.lists = lists }
        return finding
    }

    private func refresh(_ file: inout File, wallSeconds: Int64, _ finding: inout Finding) -> Bool {
        let stamp = FileStamp(file.path)
        let isDue = file.lists.contains { $0.nextUpdate.map { $0 <= wallSeconds } ?? false }
        guard stamp != file.stamp || file.complaint != nil || isDue else { return false }
        do throws(FileContents.Failure) {
            let bytes = try FileContents.read(file.path, isSecret: false)
            guard let found = try? RevocationList.read(bytes) else {
                complain(&file, "it holds no revocation list; the former one stays", &finding)
                finding.failures += 1
                return false
            }
            defer { file.stamp = stamp }
            let isOverdue = found.contains { $0.nextUpdate.map { $0 <= wallSeconds } ?? false }
            if isOverdue { complain(&file, "its time is over; the next one has not come", &finding) } else { file.complaint = nil }
            guard found != file.lists else { return false }
            file.lists = found
            return true
        } catch {
            complain(&file, error.what(file.path) + "; the former list stays", &finding)
            finding.failures += 1
            return false
        }
    }

    private func complain(_ file: inout File, _ reason: String, _ finding: inout Finding) {
        guard file.complaint != reason else { return }
        file.complaint = reason
        finding.lines.append(
            LogLine(.warning, "a revocation list is not up to date", [.init("file", file.path), .init("reason", reason)]))
    }
}
