import CAllocations
import Glibc

/// Allocations of the whole program.
enum Allocations {
    static var count: Int { allocation_count() }
}

/// The processor time of this thread: what else the machine does does not count.
func processorNanoseconds() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// What one repetition of something takes.
struct Cost {
    var nanoseconds: Double
    var allocations: Double
    var samples: [Double]
}

/// Runs something in rounds, and gives the median round.
///
/// - Parameters:
///   - operations: repetitions that `body` does in one call.
func hotPathCost(rounds: Int = 15, operations: Int, _ body: () throws -> Void) rethrows -> Cost {
    try body()
    var times: [Double] = []
    var allocations = 0
    for _ in 0..<rounds {
        let (began, before) = (processorNanoseconds(), Allocations.count)
        try body()
        times.append(Double(processorNanoseconds() - began) / Double(operations))
        allocations = Allocations.count - before
    }
    return Cost(nanoseconds: times.sorted()[rounds / 2], allocations: Double(allocations) / Double(operations), samples: times)
}
