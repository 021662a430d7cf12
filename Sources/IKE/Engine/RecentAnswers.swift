public import Session

/// The answers that a standby has just heard of. The dead owner may not have come to send the last of them: they waited for the
/// acknowledgement, or were on its way out. A peer would repeat its request after its own timeout (strongSwan: 4 s); sent once more
/// by the new owner, they are what it waits for, and twice they do no harm (RFC 7296 §2.1).
struct RecentAnswers {
    enum Answer: Hashable {
        case halfOpen(UInt64)
        case response(localSPI: UInt64, messageID: UInt32)
        case farewell(UInt64)

        var localSPI: UInt64 {
            switch self {
            case .halfOpen(let spi), .response(let spi, _), .farewell(let spi): spi
            }
        }
    }

    /// More than an active node gives in the tenth of a second in which it is found dead; the latest count.
    static let countMax = 1024
    /// Sent in one go, and the pause before the next: the takeover itself is not slowed down.
    static let page = 32
    static let pause: Duration = .milliseconds(1)

    private var noted: [(at: Instant, answer: Answer)] = []
    /// What is still to be sent, the next one last.
    private var owed: [Answer] = []

    var isEmpty: Bool { owed.isEmpty }
    var count: Int { noted.count + owed.count }

    mutating func note(_ answer: Answer, at now: Instant) {
        // In one go: what is dropped is too old to be of use.
        if noted.count == 2 * RecentAnswers.countMax { noted.removeFirst(RecentAnswers.countMax) }
        noted.append((now, answer))
    }

    /// Those since then are owed: of each IKE SA the last, the latest first.
    mutating func begin(since: Instant) {
        var seen: Set<UInt64> = []
        owed = noted.suffix(RecentAnswers.countMax).reversed().prefix { $0.at >= since }.map(\.answer).filter {
            seen.insert($0.localSPI).inserted
        }.reversed()
        noted = []
    }

    mutating func takePage() -> [Answer] {
        let page = Array(owed.suffix(RecentAnswers.page).reversed())
        owed.removeLast(page.count)
        return page
    }
}

extension IKEEngine {
    /// This node took over: the last answers of the former owner go out once more.
    ///
    /// - Parameter since: those that the standby heard of earlier have left.
    public mutating func repeatAnswers(since: Instant, at now: Instant) {
        recentAnswers.begin(since: since)
        if !recentAnswers.isEmpty { deadlines.insert(.repeatAnswers, at: now) }
    }

    mutating func repeatAnswersDue(table: SessionTable, at now: Instant) -> IKEOutcome {
        let datagrams = recentAnswers.takePage().flatMap { repeated($0, table: table) }
        if !recentAnswers.isEmpty { deadlines.insert(.repeatAnswers, at: now + RecentAnswers.pause) }
        return IKEOutcome(datagrams: datagrams)
    }

    private mutating func repeated(_ answer: RecentAnswers.Answer, table: SessionTable) -> [Datagram] {
        let messages: [[UInt8]]
        let path: (local: Endpoint, remote: Endpoint)
        switch answer {
        case .halfOpen(let spi):
            guard let half = halfOpen[spi] else { return [] }
            messages = [half.response]
            path = (half.local, half.remote)
        case .farewell(let spi):
            guard let farewell = farewells[spi] else { return [] }
            messages = farewell.datagrams
            path = (farewell.local, farewell.remote)
        case .response(let localSPI, let messageID):
            guard let session = table.session(localSPI: localSPI), !session.isHeldStill,
                let response = session.ikeSA(localSPI: localSPI)?.response(messageID: messageID)
            else { return [] }
            messages = response.datagrams
            path = (session.ikePath.local, session.ikePath.remote)
        }
        counters.answersRepeated += 1
        counters.datagramsSent += UInt64(messages.count)
        let local = nodeAddresses.here(path.local)
        return messages.map { Datagram(local: local, remote: path.remote, bytes: $0) }
    }
}
