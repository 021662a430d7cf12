/// Everything that is wrong with a configuration, in the order of the file.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
    /// One fault, and what to do about it.
    public struct Problem: Hashable, Sendable, CustomStringConvertible {
        public var file: String
        /// Counted from 1; 0 where no line of the file is to blame.
        public var line: Int
        /// `connections.road.proposals`; empty for the file as a whole.
        public var key: String
        public var what: String
        public var remedy: String

        public init(file: String, line: Int, key: String, what: String, remedy: String) {
            self.file = file
            self.line = line
            self.key = key
            self.what = what
            self.remedy = remedy
        }

        /// `FILE:LINE: KEY: what is wrong; what to do`.
        public var description: String {
            let place = line > 0 ? "\(file):\(line): " : "\(file): "
            return place + (key.isEmpty ? "" : "\(key): ") + what + (remedy.isEmpty ? "" : "; \(remedy)")
        }
    }

    public let problems: [Problem]

    public init(_ problems: [Problem]) { self.problems = problems }

    /// One problem a line.
    public var description: String { problems.map(\.description).joined(separator: "\n") }
}
