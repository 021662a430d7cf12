import Testing

@testable import Simulator

extension World {
    /// A world whose checkers speak through the test.
    convenience init(_ options: Options = Options()) { self.init(options) { Issue.record("\($0)") } }
}
