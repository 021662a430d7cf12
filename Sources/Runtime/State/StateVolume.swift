import Glibc

/// Why a file of the state directory could not be read, written or brought to the disk.
struct StateVolumeError: Error, Hashable, CustomStringConvertible {
    var operation: String
    var code: Int32

    init(_ operation: String, _ code: Int32 = errno) {
        self.operation = operation
        self.code = code
    }

    var description: String { "cannot \(operation): \(errorText(code))" }
}

/// What a store does with its directory: a value for tests, in which a disk is full, slow or broken at any step.
protocol StateVolume: ~Copyable {
    /// Octets of a file; `nil`: there is none.
    func size(of name: String) throws(StateVolumeError) -> Int?
    /// Fewer octets only at the end.
    func read(_ name: String, at offset: Int, count: Int) throws(StateVolumeError) -> [UInt8]
    /// An empty file of this name, for its owner alone. What had the name before is gone.
    mutating func create(_ name: String) throws(StateVolumeError)
    /// A file that is there, to go on with.
    mutating func reopen(_ name: String) throws(StateVolumeError)
    /// All of it, at a place of the file that was made or opened last.
    mutating func write(_ bytes: [UInt8], at offset: Int) throws(StateVolumeError)
    mutating func truncate(to size: Int) throws(StateVolumeError)
    /// What was written to the file outlives a power cut when this returns.
    mutating func sync() throws(StateVolumeError)
    /// Takes the place of what has that name.
    mutating func rename(_ name: String, to other: String) throws(StateVolumeError)
    mutating func remove(_ name: String) throws(StateVolumeError)
    /// What has which name outlives a power cut when this returns.
    mutating func syncNames() throws(StateVolumeError)
}

/// A directory of this host, which no second daemon uses.
struct DirectoryVolume: StateVolume, ~Copyable {
    let path: String
    private let directory: Int32
    private var file: Int32 = -1

    /// Makes the directory if need be; its parent has to be there.
    ///
    /// - Throws: also when others may look into it, or another daemon uses it.
    init(_ path: String) throws(StateVolumeError) {
        self.path = path
        if mkdir(path, 0o700) != 0, errno != EEXIST { throw StateVolumeError("make \(path)") }
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw StateVolumeError("open \(path)") }
        func refuse(_ operation: String, _ code: Int32 = errno) -> StateVolumeError {
            let failure = StateVolumeError(operation, code)
            close(descriptor)
            return failure
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw refuse("look at \(path)") }
        guard status.st_mode & 0o077 == 0 else {
            throw refuse("use \(path), into which others may look; run: chmod 700 \(path)", EACCES)
        }
        guard status.st_uid == geteuid() else { throw refuse("use \(path), which belongs to another user", EACCES) }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw refuse("use \(path), which another tandemd uses") }
        directory = descriptor
    }

    deinit {
        if file >= 0 { close(file) }
        close(directory)
    }

    func size(of name: String) throws(StateVolumeError) -> Int? {
        var status = stat()
        if fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) == 0 { return Int(status.st_size) }
        guard errno == ENOENT else { throw StateVolumeError("look at \(name)") }
        return nil
    }

    func read(_ name: String, at offset: Int, count: Int) throws(StateVolumeError) -> [UInt8] {
        let descriptor = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { throw StateVolumeError("open \(name)") }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: count)
        var done = 0
        while done < count {
            let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress! + done, count - done, off_t(offset + done)) }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw StateVolumeError("read \(name)") }
            if got == 0 { break }
            done += got
        }
        bytes.removeLast(count - done)
        return bytes
    }

    mutating func create(_ name: String) throws(StateVolumeError) {
        if file >= 0 { close(file) }
        file = openat(directory, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw StateVolumeError("make \(name)") }
    }

    mutating func reopen(_ name: String) throws(StateVolumeError) {
        if file >= 0 { close(file) }
        file = openat(directory, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else { throw StateVolumeError("open \(name)") }
    }

    mutating func write(_ bytes: [UInt8], at offset: Int) throws(StateVolumeError) {
        var done = 0
        while done < bytes.count {
            let put = bytes.withUnsafeBytes { pwrite(file, $0.baseAddress! + done, bytes.count - done, off_t(offset + done)) }
            if put < 0, errno == EINTR { continue }
            guard put > 0 else { throw StateVolumeError("write", put == 0 ? ENOSPC : errno) }
            done += put
        }
    }

    mutating func truncate(to size: Int) throws(StateVolumeError) {
        guard ftruncate(file, off_t(size)) == 0 else { throw StateVolumeError("cut off what was half written") }
    }

    mutating func sync() throws(StateVolumeError) {
        guard fsync(file) == 0 else { throw StateVolumeError("bring it to the disk") }
    }

    mutating func rename(_ name: String, to other: String) throws(StateVolumeError) {
        guard renameat(directory, name, directory, other) == 0 else { throw StateVolumeError("rename \(name) to \(other)") }
    }

    mutating func remove(_ name: String) throws(StateVolumeError) {
        guard unlinkat(directory, name, 0) == 0 || errno == ENOENT else { throw StateVolumeError("remove \(name)") }
    }

    mutating func syncNames() throws(StateVolumeError) {
        guard fsync(directory) == 0 else { throw StateVolumeError("bring the directory to the disk") }
    }
}
