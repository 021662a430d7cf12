import IKE
import Node
import Session

/// IKE datagrams that wait for their turn, each rank in a queue of its own.
struct DatagramQueues {
    /// Datagrams that wait in each of the queues; IKE peers repeat what is lost.
    static let eachMax = 4096
    /// Of so many requests that begin an IKE SA one is taken from those without a cookie, though others wait: cookies that look good
    /// can be made up, and a newcomer needs an answer to get a real one.
    static let newcomerEvery = 4

    private var ongoing = InputQueue()
    /// Those who have been told a cookie pass the flood that made it necessary.
    private var returning = InputQueue()
    /// They come last: of a flood of them nothing is lost by those who are past it.
    private var newcomers = InputQueue()
    private var taken = 0

    /// - Returns: false when as many of its rank wait as may.
    mutating func append(_ datagram: Datagram) -> Bool {
        switch DatagramRank(datagram) {
        case .ongoing: ongoing.append(.datagram(datagram), max: DatagramQueues.eachMax)
        case .returning: returning.append(.datagram(datagram), max: DatagramQueues.eachMax)
        case .newcomer: newcomers.append(.datagram(datagram), max: DatagramQueues.eachMax)
        }
    }

    mutating func take() -> Input? {
        if let next = ongoing.take() { return next }
        taken = (taken + 1) % DatagramQueues.newcomerEvery
        return taken == 0 ? newcomers.take() ?? returning.take() : returning.take() ?? newcomers.take()
    }
}

/// Inputs in the order of their arrival.
struct InputQueue {
    private var items: [Input] = []
    private var head = 0

    var isEmpty: Bool { head == items.count }
    var count: Int { items.count - head }

    mutating func append(_ input: Input) { items.append(input) }

    /// - Returns: false when as many wait as may.
    mutating func append(_ input: Input, max: Int) -> Bool {
        guard count < max else { return false }
        append(input)
        return true
    }

    mutating func take() -> Input? {
        guard head < items.count else { return nil }
        defer {
            head += 1
            if head == items.count {
                items.removeAll(keepingCapacity: items.count <= 1024)
                head = 0
            } else if head >= 1024 {
                items.removeFirst(head)
                head = 0
            }
        }
        return items[head]
    }
}
