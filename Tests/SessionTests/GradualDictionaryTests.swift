import Session
import Testing

@Suite struct GradualDictionaryTests {
    @Test(arguments: [1 as UInt64, 2, 3])
    func changes_ofAnyOrder_giveWhatADictionaryGives(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var (gradual, plain): (GradualDictionary<UInt32, [Int]>, [UInt32: [Int]]) = ([:], [:])
        for step in 0..<20_000 {
            let key = UInt32.random(in: 0..<3000, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: #expect(gradual.removeValue(forKey: key) == plain.removeValue(forKey: key))
            case 1: (gradual[key], plain[key]) = (nil, nil)
            case 2: #expect(gradual.updateValue([step], forKey: key) == plain.updateValue([step], forKey: key))
            case 3: (gradual[key], plain[key]) = ([step], [step])
            case 4:
                gradual[key, default: []].append(step)
                plain[key, default: []].append(step)
            default:
                gradual[key]?.append(step)
                plain[key]?.append(step)
            }
            #expect(gradual[key] == plain[key])
            #expect(gradual.count == plain.count)
        }
        #expect(gradual.keys.sorted() == plain.keys.sorted())
        #expect(gradual.values.map(\.count).reduce(0, +) == plain.values.map(\.count).reduce(0, +))
        #expect(plain.allSatisfy { gradual[$0.key, default: []] == $0.value })
    }

    @Test func equality_ofOneThatWasFilledAndEmptied_isThatOfAnEmptyOne() {
        var dictionary: GradualDictionary<String, Int> = ["one": 1]
        #expect(dictionary != [:])
        #expect(dictionary == ["one": 1])
        #expect(dictionary != ["one": 2])
        dictionary["one"] = nil
        #expect(dictionary == [:])
        #expect(dictionary.isEmpty)
    }

    @Test(arguments: [0, 10, 5_000]) func room_thatIsMade_changesNothing(known: Int) {
        var dictionary: GradualDictionary<Int, Int> = [:]
        for number in 0..<known { dictionary[number] = number }
        let before = dictionary
        dictionary.makeRoomIfEmpty(for: 100_000)
        #expect(dictionary == before && dictionary.count == known)
        for number in known..<100_000 { dictionary[number] = number }
        #expect(dictionary.count == 100_000 && (0..<100_000).allSatisfy { dictionary[$0] == $0 })
        for number in 0..<100_000 { dictionary[number] = nil }
        dictionary.makeRoomIfEmpty(for: 200_000)
        #expect(dictionary.isEmpty && dictionary[1] == nil)
    }

    @Test func growth_withManyElements_movesFewAtOnce() {
        var dictionary: GradualDictionary<Int, Int> = [:]
        for number in 0..<100_000 { dictionary[number] = number }
        // Hashes spread well: no part is far from the four hundred of its share.
        #expect(dictionary.largestPart < 600)
    }
}
