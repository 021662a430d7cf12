import CLinux
import Glibc

/// Flags that glibc gives as different kinds of constants, in the one form in which they are needed.
enum Linux {
    /// `O_CLOEXEC`, which SOCK_CLOEXEC, EPOLL_CLOEXEC and EFD_CLOEXEC are.
    static let closeOnExec: Int32 = O_CLOEXEC
    static let nonBlocking: Int32 = O_NONBLOCK
}

/// A batch of events that `epoll_wait` fills.
struct EpollEvents: ~Copyable {
    private let events: UnsafeMutableBufferPointer<epoll_event>

    init(capacity: Int) {
        events = .allocate(capacity: capacity)
        events.initialize(repeating: epoll_event())
    }

    deinit { events.deallocate() }

    /// Waits for at most `milliseconds`, or for ever when negative.
    ///
    /// - Returns: how many descriptors are ready; 0 when a signal came.
    func wait(on epoll: Int32, milliseconds: Int32) -> Int {
        max(0, Int(epoll_wait(epoll, events.baseAddress, Int32(events.count), milliseconds)))
    }

    func descriptor(_ index: Int) -> Int32 { events[index].data.fd }

    /// Watches a descriptor for something to read.
    ///
    /// - Returns: false when the kernel refused.
    static func watch(_ descriptor: Int32, on epoll: Int32) -> Bool {
        var event = epoll_event(events: EPOLLIN.rawValue, data: epoll_data_t(fd: descriptor))
        return epoll_ctl(epoll, EPOLL_CTL_ADD, descriptor, &event) == 0
    }

    static func forget(_ descriptor: Int32, on epoll: Int32) { _ = epoll_ctl(epoll, EPOLL_CTL_DEL, descriptor, nil) }
}
