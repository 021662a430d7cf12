// swift-tools-version: 6.2

import PackageDescription

/// What every target is compiled with: Swift 6, explicit existentials, visible imports, and no warning left alone.
let strict: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
]

/// The fuzz targets: replayed over their kept corpus by `swift test`; with TANDEM_FUZZ set, a program around libFuzzer (`make fuzz`).
let fuzzed: [Target.Dependency] = [
    "Cryptography", "IKEWire", "Session", "IKE", "Pair", "Context", "Control", "ESP", "Netlink", "Runtime",
]
let fuzzing: Target =
    Context.environment["TANDEM_FUZZ"] == nil
    ? .testTarget(
        name: "FuzzTests", dependencies: fuzzed, path: "Fuzz", exclude: ["Corpus", "Driver", "fuzz.py"], sources: ["Targets", "Replay"],
        swiftSettings: strict)
    : .executableTarget(
        name: "tandem-fuzz", dependencies: fuzzed, path: "Fuzz", exclude: ["Corpus", "Replay", "fuzz.py"],
        sources: ["Targets", "Driver"], swiftSettings: strict)

let package = Package(
    name: "tandem",
    products: [
        .executable(name: "tandemd", targets: ["tandemd"]),
        .executable(name: "tandem", targets: ["tandem"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ],
    targets: [
        // System libraries.
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CLinux"),
        .systemLibrary(name: "CMNL", pkgConfig: "libmnl", providers: [.apt(["libmnl-dev"])]),
        .systemLibrary(
            name: "CNetfilterConntrack", pkgConfig: "libnetfilter_conntrack", providers: [.apt(["libnetfilter-conntrack-dev"])]),

        // The core: values in, values out; no socket, clock or thread.
        .target(name: "Cryptography", dependencies: ["COpenSSL"], swiftSettings: strict),
        .target(name: "IKEWire", swiftSettings: strict),
        .target(
            name: "Session",
            dependencies: ["Cryptography"], swiftSettings: strict),
        .target(
            name: "IKE",
            dependencies: ["IKEWire", "Session", "Cryptography", .product(name: "HeapModule", package: "swift-collections")],
            swiftSettings: strict),
        .target(
            name: "Pair",
            dependencies: [
                "Session", "Cryptography", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "SwiftProtobuf", package: "swift-protobuf"),
            ],
            exclude: ["Wire/pair.proto", "Wire/state.proto"],
            // Values in, values out: the only objects are those behind generated messages, each field of which is looked at for accesses
            // that overlap, though none can. A session has sixty of them.
            swiftSettings: strict + [.unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))]),
        .target(name: "Control", swiftSettings: strict),
        .target(name: "Context", dependencies: ["Session", "Cryptography", "Control"], swiftSettings: strict),
        .target(
            name: "Node",
            dependencies: [
                "IKE", "Pair", "Session", "Context", "Control", "Cryptography", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
            ],
            swiftSettings: strict),

        // The edges: packets, the kernel, the event loop.
        .target(name: "ESP", dependencies: ["Cryptography", "Session"], swiftSettings: strict),
        .target(name: "Netlink", dependencies: ["CMNL", "CNetfilterConntrack", "Session", "Cryptography"], swiftSettings: strict),
        .target(
            name: "Runtime",
            dependencies: [
                "CLinux", "Cryptography", "IKE", "Session", "Pair", "Context", "Control", "Node", "ESP", "Netlink",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "TOMLKit", package: "TOMLKit"),
            ],
            swiftSettings: strict),
        .executableTarget(
            name: "tandemd",
            dependencies: ["Runtime", "Control", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: strict),
        .executableTarget(
            name: "tandem",
            dependencies: [
                "Context", "Control", "Cryptography", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict,
            // Without libraries to map and addresses to put right, a call takes 3 ms less (Docs/benchmarks.md). The daemon keeps both.
            // The two libraries are what FoundationEssentials needs; a build without --static-swift-stdlib does not name them.
            linkerSettings: [
                .unsafeFlags(["-static-executable", "-l_FoundationCShims", "-l_FoundationCollections"], .when(configuration: .release))
            ]),
        .executableTarget(
            name: "session-generator",
            dependencies: [
                "Cryptography", "IKE", "Session", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/SessionGenerator", swiftSettings: strict),
        .target(name: "CAllocations", path: "Benchmarks/Allocations"),
        .executableTarget(
            name: "hot-paths",
            dependencies: ["CAllocations", "Simulator", "Node", "Pair", "Context", "ESP", "IKEWire", "Session", "Cryptography"],
            path: "Benchmarks/HotPaths", swiftSettings: strict),
        .executableTarget(
            name: "netlink-floor",
            dependencies: [
                "Netlink", "Session", "Cryptography", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            path: "Benchmarks/NetlinkFloor", swiftSettings: strict),
        // Both nodes, end-users, a network and its faults in virtual time: `make simulate`, and the tests' world.
        .target(
            name: "Simulator", dependencies: ["Node", "IKE", "Pair", "Session", "Control", "Cryptography"], swiftSettings: strict),
        .executableTarget(
            name: "tandem-simulate", dependencies: ["Simulator", .product(name: "ArgumentParser", package: "swift-argument-parser")],
            swiftSettings: strict),
        // Run inside the kernel lab, where there is ESP.
        .executableTarget(
            name: "KernelLab", dependencies: ["Runtime", "Netlink", "ESP", "Session", "Cryptography"], path: "Tests/KernelLab",
            swiftSettings: strict),

        // Tests.
        // Certificates, revocation lists and keys that libcrypto makes for a test.
        .target(
            name: "CertificateSamples", dependencies: ["COpenSSL", "Cryptography"], path: "Tests/CertificateSamples", swiftSettings: strict),
        .testTarget(name: "CryptographyTests", dependencies: ["Cryptography", "COpenSSL", "CertificateSamples"], swiftSettings: strict),
        .testTarget(name: "IKEWireTests", dependencies: ["IKEWire"], swiftSettings: strict),
        .testTarget(name: "SessionTests", dependencies: ["Session", "Cryptography"], swiftSettings: strict),
        .testTarget(
            name: "IKETests", dependencies: ["IKE", "IKEWire", "Session", "Cryptography", "CertificateSamples"], swiftSettings: strict),
        .testTarget(
            name: "PairTests",
            dependencies: ["Pair", "Session", "Cryptography", .product(name: "SwiftProtobuf", package: "swift-protobuf")],
            swiftSettings: strict),
        .testTarget(name: "ControlTests", dependencies: ["Control"], swiftSettings: strict),
        .testTarget(name: "ContextTests", dependencies: ["Context", "Session", "Control", "Cryptography"], swiftSettings: strict),
        .testTarget(
            name: "NodeTests",
            dependencies: ["Simulator", "Node", "IKE", "IKEWire", "Pair", "Session", "Context", "Control", "Cryptography"],
            swiftSettings: strict),
        .testTarget(name: "ESPTests", dependencies: ["ESP", "Session", "Cryptography"], swiftSettings: strict),
        .testTarget(name: "NetlinkTests", dependencies: ["Netlink", "Session", "Cryptography"], swiftSettings: strict),
        .testTarget(
            name: "RuntimeTests",
            dependencies: [
                "Runtime", "Node", "IKE", "Pair", "Session", "Context", "Control", "Cryptography", "CertificateSamples", "ESP",
                "Netlink",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: strict),
        fuzzing,
    ],
    swiftLanguageModes: [.v6]
)
