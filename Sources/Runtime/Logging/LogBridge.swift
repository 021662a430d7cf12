public import Logging
import Node

/// Lets libraries that log through swift-log write into a `LogSink`.
public struct LogBridge: LogHandler {
    private let sink: LogSink
    private let label: String
    public var metadata: Logger.Metadata = [:]
    public var logLevel: Logger.Level

    public init(sink: LogSink, label: String) {
        self.sink = sink
        self.label = label
        logLevel = [.debug: .debug, .info: .info, .notice: .notice, .warning: .warning, .error: .error][sink.level] ?? .info
    }

    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    public func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { $1 }
        let fields = [LogLine.Field("part", label)] + all.sorted { $0.key < $1.key }.map { LogLine.Field($0.key, "\($0.value)") }
        sink.write(LogLine(LogBridge.level(event.level), event.message.description, fields))
    }

    private static func level(_ level: Logger.Level) -> LogLine.Level {
        switch level {
        case .trace, .debug: .debug
        case .info: .info
        case .notice: .notice
        case .warning: .warning
        case .error, .critical: .error
        }
    }
}

extension LogSink {
    /// A swift-log logger that writes here.
    public func logger(_ label: String) -> Logger { Logger(label: label) { LogBridge(sink: self, label: $0) } }
}
