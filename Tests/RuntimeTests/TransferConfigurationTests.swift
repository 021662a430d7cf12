import Node
import Session
import Testing

@testable import Runtime

/// `[transfer]` and `[[gateway]]`.
@Suite struct TransferConfigurationTests {
    private let folder: TemporaryFolder
    private let transfer = """
        [transfer]
        listen = "192.0.2.1:4511"
        certificate = "pair/sg1.crt"
        key = "pair/sg1.key"

        """
    private let gateway = """
        [[gateway]]
        name = "east"
        link = "198.51.100.1:4511"
        certificate = "pair/sg2.crt"

        """

    init() throws { folder = try pairFolder() }

    private func problems(_ text: String) -> [String] {
        let file = folder.write("tandem.toml", minimal + text, mode: 0o600)
        do throws(ConfigurationError) {
            _ = try Configuration.load(path: file)
            return []
        } catch {
            return error.problems.map { String($0.description.dropFirst(folder.path.count + 1)) }
        }
    }

    @Test func gateways_whenLoaded_areThere() throws {
        let named = gateway + "redirect_to = \"gw.east.example.net\"\nmay_request = true\n"
        let file = folder.write("tandem.toml", minimal + transfer + named, mode: 0o600)
        let configuration = try Configuration.load(path: file)
        #expect(
            configuration.node.gateways == [
                GatewayConfiguration(name: "east", redirectTo: .name("gw.east.example.net"), mayRequest: true)
            ])
        #expect(configuration.transferLink?.listen == Endpoint("192.0.2.1:4511"))
        #expect(configuration.transferLink?.gateways.map(\.link) == [Endpoint("198.51.100.1:4511")!])
        #expect(configuration.transferLink?.gateways[0].certificatePEMs.count == 1)
        // Where nothing else is said, clients go where the link goes; and a gateway may be a pair.
        let both = gateway.replacing("\"pair/sg2.crt\"", with: "[\"pair/sg1.crt\", \"pair/sg2.crt\"]")
        let second = try Configuration.load(path: folder.write("tandem.toml", minimal + transfer + both, mode: 0o600))
        #expect(second.node.gateways == [GatewayConfiguration(name: "east", redirectTo: .address(IPAddress("198.51.100.1")!))])
        #expect(second.transferLink?.gateways[0].certificatePEMs.count == 2)
    }

    @Test func overload_thatNamesAGateway_meansIt() throws {
        let sample = folder.write("overload.toml", try #require(readText("\(samples)/overload.toml")))
        let overload = try #require(try Configuration.load(path: sample).node.overload)
        #expect(overload.gateway == "east" && overload.target == .address(IPAddress("198.51.100.10")!))
        #expect(overload.marks[.sessions] == LoadMark(high: 5000, low: 4000))
        // Any other name is one that clients resolve.
        let other = "[overload]\ncpu = 90\nto = \"south\"\n"
        let file = folder.write("tandem.toml", minimal + transfer + gateway + other, mode: 0o600)
        let elsewhere = try #require(try Configuration.load(path: file).node.overload)
        #expect(elsewhere.gateway == nil && elsewhere.target == .name("south"))
    }

    @Test func whatIsWrong_isNamedWithItsLine() {
        func first(_ text: String, _ expected: String) {
            let found = problems(text)
            #expect(found.contains { $0.contains(expected) }, "\(found)")
        }
        first(gateway, "transfer: is missing")
        first(transfer, "gateway: is missing")
        first("[transfer]\nlisten = \"192.0.2.1:4511\"\n" + gateway, "transfer.certificate: is missing")
        first(transfer.replacing("key = \"pair/sg1.key\"\n", with: "") + gateway, "transfer.key: is missing")
        first(transfer.replacing("192.0.2.1:4511", with: "everywhere") + gateway, "tandem.toml:12: transfer.listen")
        first(transfer + gateway.replacing("name = \"east\"\n", with: ""), "gateway[0].name: is missing")
        first(transfer + gateway.replacing("sg2.crt", with: "gone.crt"), "tandem.toml:18: gateway[0].certificate")
        first(transfer + gateway + "redirect_to = \"a b\"\n", "tandem.toml:19: gateway[0].redirect_to")
        first(transfer + gateway + "may_ask = true\n", "gateway[0].may_ask: unknown key")
        first(transfer + gateway + gateway, "gateway[1].name: another gateway has the name east")
        first(
            transfer + gateway + gateway.replacing("east", with: "west"), "gateway[1].certificate: another gateway has the same certificate"
        )
    }
}
