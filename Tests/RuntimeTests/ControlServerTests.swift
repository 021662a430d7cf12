import Control
import Glibc
import Logging
import NIOCore
import NIOPosix
import Testing

@testable import Runtime

/// The control socket with a node of canned answers behind it.
@Suite struct ControlServerTests {
    // MARK: The socket

    @Test func start_makesTheSocketForItsOwnerOnly() async throws {
        try await withServer { path, _ in
            #expect(mode(of: path) == 0o600)
            #expect(mode(of: String(path[..<path.lastIndex(of: "/")!])) == 0o750)
        }
    }

    @Test func start_withAGroup_givesTheSocketAndItsFolderToIt() async throws {
        let path = temporaryPath()
        let folder = String(path[..<path.lastIndex(of: "/")!])
        // Group 1 is `daemon`; not root's.
        let descriptor = try ControlSocket.bind(path: path, group: 1)
        defer {
            close(descriptor)
            unlink(path)
            rmdir(folder)
        }
        #expect(mode(of: path) == 0o660 && mode(of: folder) == 0o750)
        for place in [path, folder] {
            var status = stat()
            #expect(lstat(place, &status) == 0 && status.st_gid == 1 && status.st_uid == geteuid())
        }
    }

    @Test func start_whereAnotherListens_isRefusedAndLeavesItAlone() async throws {
        try await withServer { path, _ in
            await #expect(throws: ControlSocketError.inUse(path)) { try await CannedNode().serve(at: path) }
            let client = try TestClient(path)
            #expect(try client.request("version")["daemon"] == "tandemd")
        }
    }

    @Test func start_whereADeadSocketStands_takesItsPlace_andStopRemovesIt() async throws {
        let path = temporaryPath()
        let folder = String(path[..<path.lastIndex(of: "/")!])
        mkdir(folder, 0o750)
        // Bound, never listened to: what a killed daemon leaves.
        let dead = try ControlSocket.bind(path: path)
        close(dead)
        let server = try await CannedNode().serve(at: path)
        #expect(try TestClient(path).request("version")["daemon"] == "tandemd")
        try await server.stop().get()
        #expect(access(path, F_OK) != 0)
        rmdir(folder)
    }

    @Test func start_whereAFileStands_isRefusedAndLeavesIt() async throws {
        let path = temporaryPath()
        let folder = String(path[..<path.lastIndex(of: "/")!])
        mkdir(folder, 0o750)
        close(open(path, O_CREAT | O_WRONLY, 0o600))
        await #expect(throws: ControlSocketError.notASocket(path)) { try await CannedNode().serve(at: path) }
        #expect(access(path, F_OK) == 0)
        unlink(path)
        rmdir(folder)
    }

    @Test func start_withAPathThatIsTooLong_isRefused() async {
        let path = "/tmp/" + String(repeating: "x", count: 200)
        await #expect(throws: ControlSocketError.pathTooLong(path)) { try await CannedNode().serve(at: path) }
    }

    // MARK: Commands

    @Test func unknownCommandAndEvent_areToldSo() async throws {
        try await withServer { path, _ in
            let client = try TestClient(path)
            try client.send(.request(command: "load-conn", VICIMessage()))
            #expect(try client.receive() == .unknownCommand)
            try client.send(.register(event: "no-such-event"))
            #expect(try client.receive() == .unknownEvent)
            try client.send(.unregister(event: "log"))
            #expect(try client.receive() == .unknownEvent)
            #expect(try client.request("version")["daemon"] == "tandemd")
        }
    }

    @Test func badArgument_isAnAnswerNotADisconnection() async throws {
        try await withServer { path, _ in
            let client = try TestClient(path)
            let answer = try client.request("terminate")
            #expect(answer["success"] == "no")
            #expect(answer["errmsg"] == "terminate: 'ike' is missing")
            #expect(try client.request("version")["daemon"] == "tandemd")
        }
    }

    /// The longest context goes over the socket in both directions.
    @Test func contexts_ofTheGreatestLength_goThrough() async throws {
        try await withServer { path, _ in
            let client = try TestClient(path)
            let request = try #require(ControlRequest.get(GetRequest(name: "44000")).vici())
            let got = try ContextSummary(vici: client.request(request.command, request.arguments))
            #expect(got.success && got.text.utf8.count == 440_000)
            let back = try #require(ControlRequest.put(PutRequest(document: got.text)).vici())
            let told = try ContextSummary(vici: client.request(back.command, back.arguments))
            #expect(!told.success && told.code == "told" && told.error == "440000")
            #expect(!got.json.line.contains("document"))
        }
    }

    @Test func listSAs_streamsEverySessionOnceInOrderInPages() async throws {
        try await withServer(sessions: 1000) { path, node in
            let client = try TestClient(path)
            try client.register("list-sa")
            var seen: [String] = []
            try client.send(.request(command: "list-sas", VICIMessage()))
            stream: while true {
                switch try client.receive() {
                case .event(let name, let message):
                    #expect(name == "list-sa")
                    seen.append(message.section("road")?["uniqueid"] ?? "")
                case .response(let message):
                    #expect(message == VICIMessage())
                    break stream
                case let other:
                    Issue.record("\(other)")
                    break stream
                }
            }
            #expect(seen == (1...1000).map(String.init))
            #expect(node.largestPage.value == ControlRequest.describedSessionsMax)
        }
    }

    @Test func listSAs_byAClientThatDoesNotRead_asksTheNodeForNoMoreThanItCanKeep() async throws {
        try await withServer(sessions: 100_000) { path, node in
            let client = try TestClient(path)
            try client.register("list-sa")
            try client.send(.request(command: "list-sas", VICIMessage()))
            // Others are served meanwhile.
            for _ in 0..<20 { #expect(try TestClient(path).request("version")["daemon"] == "tandemd") }
            try await Task.sleep(for: .milliseconds(200))
            #expect((1..<10_000).contains(node.described.value))
        }
    }

    @Test func commandsInARow_areAnsweredInTheirOrder_andTooManyEndTheConnection() async throws {
        try await withServer { path, _ in
            let client = try TestClient(path)
            for command in ["version", "stats", "tandem-status"] { try client.send(.request(command: command, VICIMessage())) }
            var keys: [String] = []
            for _ in 0..<3 {
                guard case .response(let message) = try client.receive(), let first = message.elements.first else { break }
                switch first {
                case .value(let name, _), .section(let name, _), .list(let name, _): keys.append(name)
                }
            }
            #expect(keys == ["daemon", "uptime", "version"])
            // A command that is never answered, and more behind it than are forgiven.
            var never = VICIMessage()
            never.add("ike", "never")
            for _ in 0...ControlConnection.waitingCommandsMax + 1 { try client.send(.request(command: "terminate", never)) }
            #expect(throws: TestClient.Failure.closed) { try client.receive() }
        }
    }

    @Test func terminate_showsItsProgressUpToTheLevel_thenItsResult() async throws {
        try await withServer { path, _ in
            let client = try TestClient(path)
            try client.register("control-log")
            var arguments = VICIMessage()
            arguments.add("ike", "road")
            try client.send(.request(command: "terminate", arguments))
            guard case .event("control-log", let line) = try client.receive() else { return #expect(Bool(false)) }
            #expect(line["msg"] == "level 1")
            guard case .response(let done) = try client.receive() else { return #expect(Bool(false)) }
            #expect(done["success"] == "yes")
            #expect(done["terminated"] == "1")
        }
    }

    @Test func terminate_thatTakesTooLong_isAnsweredInTimeAndItsLateAnswerIsDropped() async throws {
        try await withServer { path, node in
            let client = try TestClient(path)
            var arguments = VICIMessage()
            arguments.add("ike", "never")
            arguments.add("timeout", "50")
            let answer = try client.request("terminate", arguments)
            #expect(answer["success"] == "no")
            #expect(answer["errmsg"] == "not finished after 50 ms")
            node.answerLate()
            #expect(try client.request("version")["daemon"] == "tandemd")
        }
    }

    // MARK: Events

    @Test func broadcast_reachesThoseWhoRegistered() async throws {
        try await withServer { path, node in
            let listener = try TestClient(path)
            let other = try TestClient(path)
            try listener.register("log")
            try other.register("ike-updown")
            let line = ControlLogLine(group: "IKE", level: 1, thread: 0, message: "hello")
            node.server?.broadcast(.log(line))
            #expect(try listener.receive() == .event(name: "log", line.vici()))
            try listener.send(.unregister(event: "log"))
            #expect(try listener.receive() == .confirmed)
            node.server?.broadcast(.log(line))
            // The next thing that either hears is the answer to its own command.
            #expect(try listener.request("version")["daemon"] == "tandemd")
            #expect(try other.request("version")["daemon"] == "tandemd")
        }
    }

    @Test func broadcast_toAClientThatDoesNotRead_letsItGo() async throws {
        try await withServer { path, node in
            let slow = try TestClient(path)
            try slow.register("log")
            let line = ControlLogLine(group: "IKE", level: 1, thread: 0, message: String(repeating: "x", count: 60_000))
            for _ in 0..<200 { node.server?.broadcast(.log(line)) }
            // Once another client is answered, all of them have been written, and nothing was read.
            #expect(try TestClient(path).request("version")["daemon"] == "tandemd")
            var received = 0
            #expect(throws: TestClient.Failure.closed) {
                while true {
                    _ = try slow.receive()
                    received += 1
                }
            }
            #expect(received < 200)
        }
    }

    // MARK: Foreign bytes

    @Test func bytesThatAreNoPackets_endOnlyTheirConnection() async throws {
        try await withServer { path, _ in
            let inputs: [[UInt8]] = [
                [0xFF, 0xFF, 0xFF, 0xFF], [0, 8, 0, 1], [0, 0, 0, 0], [0, 0, 0, 1, 9], [0, 0, 0, 1, 7], [0, 0, 0, 3, 0, 9, 65],
                [0, 0, 0, 1, 1],
            ]
            for bytes in inputs {
                let client = try TestClient(path)
                try client.send(bytes)
                #expect(throws: TestClient.Failure.closed, "\(bytes)") { try client.receive() }
            }
            // Half a packet, then gone.
            do {
                let client = try TestClient(path)
                try client.send([0, 0, 1, 0, 0, 8])
            }
            #expect(try TestClient(path).request("version")["daemon"] == "tandemd")
        }
    }

    @Test func connections_beyondTheLimit_areClosed() async throws {
        try await withServer { path, _ in
            let clients = try (0..<ControlServer.connectionsMax).map { _ in try TestClient(path) }
            for client in clients { try client.register("log") }
            #expect(throws: (any Error).self) { try TestClient(path).register("log") }
            #expect(try clients[0].request("version")["daemon"] == "tandemd")
        }
    }

    // MARK: Help

    private func withServer(sessions: UInt64 = 2, _ body: (String, CannedNode) async throws -> Void) async throws {
        let path = temporaryPath()
        let node = CannedNode(sessions: sessions)
        let server = try await node.serve(at: path)
        do {
            try await body(path, node)
        } catch {
            Issue.record(error)
        }
        try await server.stop().get()
        rmdir(String(path[..<path.lastIndex(of: "/")!]))
    }

    private func temporaryPath() -> String { "/tmp/tandem-control-\(getpid())-\(UInt32.random(in: 0...UInt32.max))/c.vici" }

    private func mode(of path: String) -> mode_t? {
        var status = stat()
        return lstat(path, &status) == 0 ? status.st_mode & 0o777 : nil
    }
}
