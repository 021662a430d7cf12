import Glibc

/// Linux calls that the Glibc module does not show, because they need `_GNU_SOURCE` or a header that it leaves out. They are
/// found by name in the C library that is loaded anyway, once.
enum Linux {
    /// `struct mmsghdr`.
    struct MultiMessageHeader {
        var header = msghdr()
        var length: UInt32 = 0
    }

    typealias ReceiveMany = @convention(c) (Int32, UnsafeMutableRawPointer, UInt32, Int32, UnsafeMutableRawPointer?) -> Int32
    typealias SendMany = @convention(c) (Int32, UnsafeMutableRawPointer, UInt32, Int32) -> Int32
    typealias EpollControl = @convention(c) (Int32, Int32, Int32, UnsafeMutableRawPointer?) -> Int32
    typealias EpollWait = @convention(c) (Int32, UnsafeMutableRawPointer, Int32, Int32) -> Int32

    static let recvmmsg = symbol("recvmmsg", as: ReceiveMany.self)
    static let sendmmsg = symbol("sendmmsg", as: SendMany.self)
    static let epollCreate = symbol("epoll_create1", as: (@convention(c) (Int32) -> Int32).self)
    static let epollControl = symbol("epoll_ctl", as: EpollControl.self)
    static let epollWait = symbol("epoll_wait", as: EpollWait.self)
    static let eventfd = symbol("eventfd", as: (@convention(c) (UInt32, Int32) -> Int32).self)

    /// `O_CLOEXEC`, which EPOLL_CLOEXEC and EFD_CLOEXEC are.
    static let closeOnExec: Int32 = 0o2000000
    static let nonBlocking: Int32 = 0o4000
    static let epollAdd: Int32 = 1
    static let epollDelete: Int32 = 2
    static let epollIn: UInt32 = 1

    /// Every glibc since 2.12 has all of these.
    private static func symbol<Function>(_ name: String, as type: Function.Type) -> Function {
        guard let address = dlsym(nil, name) else { preconditionFailure("the C library has no \(name)") }
        return unsafeBitCast(address, to: type)
    }
}

/// `struct epoll_event`s: packed on x86-64 and nowhere else.
struct EpollEvents: ~Copyable {
    #if arch(x86_64)
        private static let stride = 12
        private static let dataOffset = 4
    #else
        private static let stride = 16
        private static let dataOffset = 8
    #endif

    let capacity: Int
    private let storage: UnsafeMutableRawPointer

    init(capacity: Int) {
        self.capacity = capacity
        storage = UnsafeMutableRawPointer.allocate(byteCount: capacity * EpollEvents.stride, alignment: 8)
    }

    deinit { storage.deallocate() }

    /// Waits for at most `milliseconds`, or for ever when negative.
    ///
    /// - Returns: how many descriptors are ready; 0 when a signal came.
    func wait(on epoll: Int32, milliseconds: Int32) -> Int {
        max(0, Int(Linux.epollWait(epoll, storage, Int32(capacity), milliseconds)))
    }

    func descriptor(_ index: Int) -> Int32 {
        precondition(index < capacity)
        return storage.loadUnaligned(fromByteOffset: index * EpollEvents.stride + EpollEvents.dataOffset, as: Int32.self)
    }

    /// Watches a descriptor for something to read.
    ///
    /// - Returns: false when the kernel refused.
    static func watch(_ descriptor: Int32, on epoll: Int32) -> Bool {
        withUnsafeTemporaryAllocation(byteCount: stride, alignment: 8) { event in
            event.initializeMemory(as: UInt8.self, repeating: 0)
            event.storeBytes(of: Linux.epollIn, as: UInt32.self)
            event.storeBytes(of: descriptor, toByteOffset: dataOffset, as: Int32.self)
            return Linux.epollControl(epoll, Linux.epollAdd, descriptor, event.baseAddress) == 0
        }
    }

    static func forget(_ descriptor: Int32, on epoll: Int32) {
        _ = Linux.epollControl(epoll, Linux.epollDelete, descriptor, nil)
    }
}
