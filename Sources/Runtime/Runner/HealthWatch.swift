import Glibc
import Netlink
import Node
import Session

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

    private let thread: WaitingThread

    private final class Body {
        let tracked: Tracked
        /// Without it interfaces are looked at once a second.
        let monitor: LinkMonitor?
        let handler: (HealthReport) -> Void
        private var told: [InterfaceHealth] = []
        private var clock: ClockMeter?
        private var nextSample: Int64 = 0

        init(_ tracked: Tracked, monitor: LinkMonitor?, handler: @escaping (HealthReport) -> Void) {
            self.tracked = tracked
            self.monitor = monitor
            self.handler = handler
            clock = tracked.clockJump.map(ClockMeter.init)
        }

        func run(_ waiter: WaitingThread.Waiter) {
            while true {
                lookAtInterfaces()
                let wake = waiter.wait(for: monitor?.descriptor, milliseconds: sampleIfDue())
                guard wake != .ended else { return }
                guard wake == .ready else { continue }
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

        private func monotonicMilliseconds() -> Int64 { WaitingThread.monotonicNanoseconds() / 1_000_000 }
    }

    /// - Parameter handler: called on the thread.
    init(_ tracked: Tracked, handler: sending @escaping (HealthReport) -> Void) throws(NetlinkError) {
        // Before the first look, so that no change falls between the two.
        let monitor = try? LinkMonitor()
        thread = try WaitingThread { waiter in Body(tracked, monitor: monitor, handler: handler).run(waiter) }
    }

    /// Ends the thread and waits for it. Not from the thread itself.
    func stop() { thread.stop() }
}

extension InterfaceHealth.State {
    init(_ link: Link) {
        self = !link.isUp ? .down : !link.hasCarrier ? .noCarrier : !link.isRunning ? .notRunning : .up
    }
}
