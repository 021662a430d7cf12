public import Session

/// What a node asks that cannot hear the other one: before it owns, and while it owns. Each part may be missing; without any a node
/// decides alone.
public struct ArbitrationPlan: Hashable, Sendable {
    /// `[reachability]`: whether what the operator named can be reached from here.
    public struct Check: Hashable, Sendable {
        public var timeout: Duration

        public init(timeout: Duration) { self.timeout = timeout }
    }

    /// `[witness]`: a third place where whoever is alone claims the pair first.
    public struct Witness: Hashable, Sendable {
        /// How long the witness has to answer. An owner that hears nobody has this long for its claim before it goes.
        public var timeout: Duration
        /// How long a claim lives without being renewed.
        public var ttl: Duration
        public var whenUnreachable: WhenUnreachable

        public init(timeout: Duration, ttl: Duration, whenUnreachable: WhenUnreachable = .yield) {
            self.timeout = timeout
            self.ttl = ttl
            self.whenUnreachable = whenUnreachable
        }

        /// An owner relies on its claim for this much less than the witness keeps it: for clocks that do not run alike, and for a loop
        /// that is late.
        var margin: Duration { ttl / 5 }
        /// How often a claim is confirmed: twice before it runs out.
        var confirmationPause: Duration { ttl / 4 }
    }

    /// What an owner does that hears neither the other node nor the witness.
    public enum WhenUnreachable: String, CaseIterable, Hashable, Sendable {
        /// It lets go: the other one may have claimed the pair.
        case yield
        /// It goes on, and may be one of two.
        case stay
    }

    /// `[fencing]`: a program that switches the other node off.
    public struct Fencing: Hashable, Sendable {
        public var timeout: Duration
        /// Owns all the same when the program failed.
        public var goesOnAfterFailure: Bool

        public init(timeout: Duration, goesOnAfterFailure: Bool = false) {
            self.timeout = timeout
            self.goesOnAfterFailure = goesOnAfterFailure
        }
    }

    public var check: Check?
    public var witness: Witness?
    public var fencing: Fencing?

    public init(check: Check? = nil, witness: Witness? = nil, fencing: Fencing? = nil) {
        self.check = check
        self.witness = witness
        self.fencing = fencing
    }

    public static let none = ArbitrationPlan()

    public var isEmpty: Bool { check == nil && witness == nil && fencing == nil }
    /// An owner that hears nobody has something to ask.
    var questionsOwners: Bool { check != nil || witness != nil }
}

/// What the node wants to know from outside of the pair. Each is answered at most once, `release` never.
public enum ArbiterQuestion: Hashable, Sendable {
    /// Are the operator's targets reached?
    case check
    /// May we be the one who is alone? Also asked by who is, to be sure that it still is.
    case claim(epoch: Epoch)
    /// We are not alone any more: the claim, should there be one, is to go.
    case release
    /// Switch the other node off.
    case fence(cause: TakeoverCause)
}

public enum ArbiterAnswer: Hashable, Sendable {
    case reachable
    case notReachable(reason: String)
    /// The claim is ours, and stays so until then, by our own clock.
    case granted(until: Instant)
    /// It is somebody else's.
    case refused(holder: String)
    /// The witness did not answer, or not in a way that can be understood.
    case unanswered(reason: String)
    case fenced
    case notFenced(reason: String)
}

/// Names a question until it is answered.
public typealias QuestionNumber = UInt64
