/* Two nodes and a witness, in ticks: RoleMachine with Seeking and Holding (Sources/Pair/Roles). A node is dead after one tick of silence;
   an owner that is not heard has one more for its claim; a taker waits three. Docs/model.md. */
#define START 0
#define STANDBY 1
#define ACTIVE 2
#define DOWN 3
#ifdef BREAK_WAIT
#define WAIT 1
#else
#define WAIT 3
#endif
byte role[2], quiet[2], safe[2], age, key, last, faults = 4, moves = 1;
bool cut[2], off[2];             /* cut[n]: n hears nothing; off[n]: n does not reach the witness */
#define HEARS(n) (!cut[n] && role[1 - n] != DOWN)
#define MUTUAL (HEARS(0) && HEARS(1))
/* An owner that has to let go before time goes on. */
#ifdef BREAK_YIELD
#define MUST(n) false
#else
#define MUST(n) (role[n] == ACTIVE && safe[n] >= 2 && (key != n + 1 || age >= 2))
#endif
#ifdef BREAK_HEARD
#define TOUCH(n) HEARS(n)
#else
#define TOUCH(n) MUTUAL
#endif
#define GROW(x) if :: x < 3 -> x = x + 1 :: else fi
#define own(n) role[n] = ACTIVE; last = n; assert(role[1 - n] != ACTIVE)
active proctype pair() {
  do
  :: atomic { faults > 0 -> faults--; if :: cut[0] = 1 :: cut[1] = 1 :: off[0] = 1 :: off[1] = 1 fi }
  :: atomic { cut[0] -> cut[0] = 0 }
  :: atomic { cut[1] -> cut[1] = 0 }
  :: atomic { off[0] -> off[0] = 0 }
  :: atomic { off[1] -> off[1] = 0 }
  /* Time: heartbeats arrive at once, a claim is renewed while its holder reaches the witness, and runs out at three. */
  :: atomic { !MUST(0) && !MUST(1) ->
       if :: HEARS(0) -> quiet[0] = 0 :: else -> GROW(quiet[0]) fi;
       if :: HEARS(1) -> quiet[1] = 0 :: else -> GROW(quiet[1]) fi;
       if :: TOUCH(0) -> safe[0] = 0 :: else -> GROW(safe[0]) fi;
       if :: TOUCH(1) -> safe[1] = 0 :: else -> GROW(safe[1]) fi;
       if :: key == 0 -> age = 0
          :: key > 0 && role[key - 1] != DOWN && !off[key - 1] -> age = 0
          :: else -> age++; if :: age >= 3 -> key = 0; age = 0 :: else fi fi }
#define STEP(n, p) \
  :: atomic { faults > 0 && role[n] != DOWN -> faults--; role[n] = DOWN } \
  :: atomic { role[n] == DOWN -> role[n] = START; quiet[n] = 0; safe[n] = 3 } \
  :: atomic { role[n] == ACTIVE && safe[n] >= 1 && key == 0 && !off[n] -> key = n + 1; age = 0 } \
  :: atomic { role[n] < ACTIVE && (quiet[n] >= 1 || role[p] == DOWN) && key == 0 && !off[n] -> key = n + 1; age = 0 } \
  :: atomic { key == n + 1 && !off[n] && (role[n] == ACTIVE && safe[n] == 0 || role[n] < ACTIVE && HEARS(n)) -> key = 0 } \
  :: atomic { key == n + 1 && age < 2 && role[n] < ACTIVE && !HEARS(n) && (quiet[n] >= WAIT || role[p] == DOWN) -> own(n) } \
  :: atomic { MUST(n) || (role[n] == ACTIVE && key == p + 1 && safe[n] >= 1) -> role[n] = STANDBY } \
  :: atomic { role[n] == START && HEARS(n) && role[p] == ACTIVE -> role[n] = STANDBY } \
  :: atomic { MUTUAL && role[n] == START && role[p] == START && n == 0 -> own(n); safe[n] = 0; quiet[p] = 0 } \
  :: atomic { MUTUAL && role[n] == STANDBY && (role[p] == START || (role[p] == STANDBY && last == n)) -> own(n); safe[n] = 0; quiet[p] = 0 } \
  :: atomic { moves > 0 && MUTUAL && role[n] == ACTIVE && role[p] == STANDBY -> moves--; role[n] = STANDBY; quiet[n] = 0; own(p); safe[p] = 0 }
  STEP(0, 1)
  STEP(1, 0)
  od
}
