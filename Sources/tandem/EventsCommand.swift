import ArgumentParser
import Control
import Glibc

struct EventsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "events", abstract: "Show what happened, in order.")

    @Flag(help: "Go on showing what happens. With --json a document a line.")
    var follow = false

    @OptionGroup var socketOptions: SocketOptions
    @OptionGroup var format: FormatOptions

    func run() throws {
        try reportingErrors {
            let client = try ControlClient(path: socketOptions.socket)
            // Registered before the past is read, so that nothing falls between.
            if follow { try client.register(ControlEventName.tandemEvent) }
            var seen: UInt64 = 0
            var missed: [EventSummary] = []
            var past: [EventSummary] = []
            while true {
                let answer = try client.query(.events(after: seen)) { _, message throws(VICIError) in
                    missed.append(try EventSummary(vici: message))
                }
                let page = try EventSummary.events(vici: answer)
                guard let last = page.last, last.index > seen else { break }
                seen = last.index
                if format.json && !follow { past += page } else { page.forEach(show) }
            }
            if format.json && !follow { print(JSON.object([JSON.Member("events", .array(past.map(\.json)))]).text) }
            if follow { try followEvents(client, after: seen, missed: missed) }
        }
    }

    private func followEvents(_ client: ControlClient, after: UInt64, missed: [EventSummary]) throws {
        var seen = after
        func showNew(_ event: EventSummary) {
            guard event.index > seen else { return }
            seen = event.index
            show(event)
        }
        missed.forEach(showNew)
        client.setPatience(seconds: nil)
        while true {
            let (name, message) = try client.nextEvent()
            if name == ControlEventName.tandemEvent { showNew(try EventSummary(vici: message)) }
        }
    }

    private func show(_ event: EventSummary) {
        if format.json {
            print(event.json.line)
        } else {
            let session = event.connection.map { " \($0)" + (event.uniqueID.map { "#\($0)" } ?? "") } ?? ""
            print(printable("\(WallTime(milliseconds: event.atMilliseconds))  \(event.level)  \(event.kind)\(session): \(event.text)"))
        }
        fflush(nil)
    }
}
