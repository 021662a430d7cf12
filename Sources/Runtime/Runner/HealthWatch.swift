import Glibc
import Netlink
import Node
import Session
import Synchronization

/// A thread that tells how the host is: interfaces when they change, the rest once a second.
final class HealthWatch: Sendable {
    struct Tracked: Sendable {
        var interfaces: [String]
        /// The data plane's own.
        var device: String?
        var memory: Bool
        var descriptors: Bool
        var clockJump: Duration?

        init(_ track: TrackConfiguration, device: String?) {
            interfaces = track.interfaces
            self.device = device
            memory = track.memoryPercent != nil
            descriptors = track.descriptorsPercent != nil
            clockJump = track.clockJump
        }
    }

    /// Changes come in groups; told is what stands when the group is over.
    private static let coalescingMicroseconds: UInt32 = 5_000

    /// Closing the second wakes who waits for the first.
    private let pair: [Int32]
    private let handle: Mutex<pthread_t?>

    private final class Body {
        let tracked: Tracked
        /// Without it interfaces are looked at once a second.
        let monitor: LinkMonitor?
        let stopDescriptor: Int32
        let handler: (HealthReport) -> Void
        private var told: [InterfaceHealth] = []
        private var clock: ClockMeter?
        private var nextSample: Int64 = 0

        init(_ tracked: Tracked, monitor: LinkMonitor?, stopDescriptor: Int32, handler: @escaping (HealthReport) -> Void) {
            self.tracked = tracked
            self.monitor = monitor
            self.stopDescriptor = stopDescriptor
            self.handler = handler
            clock = tracked.clockJump.map(ClockMeter.init)
        }

        func run() {
            while true {
                lookAtInterfaces()
                let wait = sampleIfDue()
                var descriptors = [
                    pollfd(fd: stopDescriptor, events: Int16(POLLIN), revents: 0),
                    pollfd(fd: monitor?.descriptor ?? -1, events: Int16(POLLIN), revents: 0),
                ]
                let count = poll(&descriptors, 2, wait)
                if descriptors[0].revents != 0 { return }
                guard count > 0 else { continue }
                // Also the pause before a socket that fails is asked again.
                usleep(HealthWatch.coalescingMicroseconds)
                _ = try? monitor?.read()
            }
        }

        private func lookAtInterfaces() {
            var now = tracked.interfaces.map { InterfaceHealth(name: $0, state: state(of: $0)) }
            if let device = tracked.device { now.append(InterfaceHealth(name: device, state: state(of: device), isDataPlane: true)) }
            guard now != told else { return }
            told = now
            handler(.interfaces(now))
        }

        private func state(of name: String) -> InterfaceHealth.State {
            do throws(NetlinkError) {
                return InterfaceHealth.State(try Links.link(named: name))
            } catch {
                // What cannot be asked is as it was.
                return error.code == ENODEV ? .missing : told.first { $0.name == name }?.state ?? .up
            }
        }

        /// - Returns: milliseconds until the next sample.
        private func sampleIfDue() -> Int32 {
            let now = monotonicMilliseconds()
            if now >= nextSample {
                nextSample = now + TrackConfiguration.sampleInterval.inNanoseconds / 1_000_000
                if let jump = clock?.look() { handler(.clockJumped(milliseconds: jump)) }
                let memory = tracked.memory ? ResourceMeter.memoryPercent() : nil
                let descriptors = tracked.descriptors ? ResourceMeter.descriptorsPercent() : nil
                if memory != nil || descriptors != nil { handler(.resources(memory: memory, descriptors: descriptors)) }
            }
            return Int32(clamping: max(1, nextSample - monotonicMilliseconds()))
        }

        private func monotonicMilliseconds() -> Int64 {
            var time = timespec()
            clock_gettime(CLOCK_MONOTONIC, &time)
            return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
        }
    }

    /// - Parameter handler: called on the thread.
    init(_ tracked: Tracked, handler: sending @escaping (HealthReport) -> Void) throws(NetlinkError) {
        var pair: [Int32] = [0, 0]
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0 else {
            throw NetlinkError(operation: "make a socket pair", code: errno)
        }
        // Before the first look, so that no change falls between the two.
        let body = Body(tracked, monitor: try? LinkMonitor(), stopDescriptor: pair[0], handler: handler)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, Unmanaged.passRetained(body).toOpaque())
        guard code == 0 else {
            pair.forEach { close($0) }
            throw NetlinkError(operation: "start a thread", code: code)
        }
        self.pair = pair
        handle = Mutex(thread)
    }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() {
        handle.withLock { handle in
            guard let thread = handle else { return }
            close(pair[1])
            pthread_join(thread, nil)
            close(pair[0])
            handle = nil
        }
    }

    deinit { stop() }
}

extension InterfaceHealth.State {
    init(_ link: Link) {
        self = !link.isUp ? .down : !link.hasCarrier ? .noCarrier : !link.isRunning ? .notRunning : .up
    }
}
