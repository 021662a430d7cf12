/* The roles of a pair. hear, own: RoleMachine (Sources/Pair/Roles); fill, lease: leases after a split (Node+Roles.noteSplit).
   A heartbeat is read at once from the sender's state; a hand-over is one step. Docs/model.md. */
#define START 0
#define STANDBY 1
#define ACTIVE 2
#define DOWN 3
#ifdef BREAK_PARITY
#define NEXT(x, n) ((x) + 1)
#else
#define NEXT(x, n) ((x) + 1 + (((x) + 1 + (n)) % 2))
#endif
#ifdef BREAK_GAP
#define GAP 0
#else
#define GAP 16
#endif
byte role[2], epoch[2], slice[2], owner[64], used[250];
bool cut[2];                     /* cut[n]: n hears nothing on any path */
byte faults = 4, leases = 2, moves = 1;
#define claim(n) epoch[n] = NEXT(epoch[n], n); assert(owner[epoch[n]] == 0 || owner[epoch[n]] == n + 1); \
  owner[epoch[n]] = n + 1
#define take(n) slice[n] = NEXT(slice[n], n); assert(used[slice[n]] == 0); used[slice[n]] = 1
#define own(n) role[n] = ACTIVE; claim(n); take(n)
#define HEARS(n) (!cut[n] && role[1 - n] != DOWN)
active proctype pair() {
  byte n, p;
  do
  :: atomic { faults > 0 -> faults--; if :: n = 0 :: n = 1 fi; cut[n] = 1 }
  :: atomic { cut[0] -> cut[0] = 0 }
  :: atomic { cut[1] -> cut[1] = 0 }
#ifndef NO_CRASH
  :: atomic { faults > 0 && role[0] != DOWN -> faults--; role[0] = DOWN; epoch[0] = 0 }
  :: atomic { faults > 0 && role[1] != DOWN -> faults--; role[1] = DOWN; epoch[1] = 0 }
  :: atomic { role[0] == DOWN -> role[0] = START }
  :: atomic { role[1] == DOWN -> role[1] = START }
#endif
  :: atomic { leases > 0 && role[0] == ACTIVE -> leases--; take(0) }
  :: atomic { leases > 0 && role[1] == ACTIVE -> leases--; take(1) }
#define STEP(n, p) \
  :: atomic { !HEARS(n) && role[n] < ACTIVE -> own(n) } \
  :: atomic { HEARS(n) && role[n] == START && (role[p] == ACTIVE || (role[p] == START && n == 0)) -> \
       if :: role[p] == ACTIVE -> role[n] = STANDBY; FILL(n, p) :: else -> own(n) fi } \
  :: atomic { HEARS(n) && role[n] == STANDBY && role[p] != ACTIVE -> own(n) } \
  :: atomic { HEARS(n) && role[n] == STANDBY && role[p] == ACTIVE && (epoch[n] < epoch[p] || slice[n] < slice[p]) -> \
       if :: epoch[p] > epoch[n] -> epoch[n] = epoch[p] :: else fi; slice[n] = slice[p] } \
  :: atomic { HEARS(n) && YIELDS(n, p) -> role[n] = STANDBY; FILL(n, p) } \
  :: atomic { HEARS(n) && role[n] == ACTIVE && role[p] != ACTIVE && epoch[p] > epoch[n] -> epoch[n] = epoch[p]; claim(n) } \
  :: atomic { moves > 0 && HEARS(n) && HEARS(p) && role[n] == ACTIVE && role[p] == STANDBY && slice[p] == slice[n] && \
       epoch[p] == epoch[n] -> moves--; role[n] = STANDBY; own(p); epoch[n] = epoch[p] }
#ifdef BREAK_YIELD
#define YIELDS(n, p) false
#else
#define YIELDS(n, p) (role[n] == ACTIVE && role[p] == ACTIVE && epoch[p] > epoch[n])
#endif
#define FILL(n, p) epoch[n] = epoch[p]; slice[p] = slice[p] + GAP; take(p); slice[n] = slice[p]
  STEP(0, 1)
  STEP(1, 0)
  :: timeout -> assert((role[0] == ACTIVE) + (role[1] == ACTIVE) == 1); break
  od
}
#ifdef WITNESS
active proctype one() { assert(!(role[0] == ACTIVE && role[1] == ACTIVE)) }
#endif
