#!/bin/bash
# One line for each property. A broken model must fail, the true one must not.
cd "$(dirname "$0")" && model=$PWD && dir=$(mktemp -d) && cd "$dir" || exit 1
trap 'rm -rf "$dir"' EXIT
bad=0
check() { # NAME passes|fails SWITCHES [FILE]
  spin -a $3 "$model/${4:-pair}.pml" > /dev/null && cc -O1 -w -DSAFETY -DCOLLAPSE -DMEMLIM=1000 -o pan pan.c || exit 1
  timeout 25 ./pan -m100000 > out 2>&1; code=$?
  result=unfinished
  if grep -q "assertion violated" out; then result=fails
  elif [ $code = 0 ] && grep -q "errors: 0" out && ! grep -q -e "out of memory" -e "max search depth too small" out; then result=passes; fi
  word=passed; [ $result = $2 ] || { word=FAILED; bad=1; }
  echo "$word: $1 ($result; $(awk '/states, stored/ {print $1}' out) states)"
}
check "one owner an epoch, no slice twice, one active in the end" passes ""
check "without parity" fails -DBREAK_PARITY
check "without the gap" fails "-DBREAK_GAP -DNO_CRASH"
check "without giving way" fails "-DBREAK_YIELD -DNO_CRASH"
check "without a witness both can be active" fails -DWITNESS
check "with a witness never" passes "" witness
check "with a witness, and a taker that does not wait" fails -DBREAK_WAIT witness
check "with a witness, and an owner that does not let go" fails -DBREAK_YIELD witness
check "with a witness, and an owner that takes hearing for being heard" fails -DBREAK_HEARD witness
exit $bad
