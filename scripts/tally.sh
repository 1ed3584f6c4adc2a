# Sourced by test.sh and test-deep.sh after env.sh: runs the C tests and Vitest, goes on after a failure, and collects
# what each counted in one file, from which closing_line prints the sum and sets the exit code. INSANE_TOTAL names a file
# that gets the counts as well, for a caller that runs several such scripts.
counts=$(mktemp)
trap 'if [ -n "${INSANE_TOTAL:-}" ]; then cat "$counts" >>"$INSANE_TOTAL"; fi; rm -f "$counts"' EXIT
runs=0

# c_tests PRESET [CTEST ARGUMENTS]: builds a preset and runs its tests.
c_tests() {
  preset=$1
  shift
  runs=$((runs + 1))
  if ! command -v cmake >/dev/null 2>&1; then
    skipped=$(find test/native -name 'test_*.c' -o -name 'stress_*.c' -o -name 'fuzz_*.c' | wc -l)
    echo "C tests ($preset): skipped, there is no cmake" >&2
    echo "{\"passed\":0,\"failed\":0,\"skipped\":$skipped}" >>"$counts"
    return 0
  fi
  if ! native "$preset"; then
    echo "C tests ($preset): the build failed" >&2
    return 0 # no counts for this run: closing_line takes that for a failure
  fi
  junit=$root/build/$preset/junit.xml
  rm -f "$junit"
  ctest --preset "$preset" --output-on-failure --output-junit "$junit" "$@" || true
  node scripts/closing-line.ts --from-junit "$junit" >>"$counts" || true
}

# vitest_run [VITEST ARGUMENTS]
vitest_run() {
  runs=$((runs + 1))
  before=$(wc -l <"$counts")
  if INSANE_COUNTS=$counts vitest run "$@"; then return 0; fi
  # A failure that no test accounts for, such as a crashed worker, must still fail the run.
  if [ "$(tail -n +"$((before + 1))" "$counts" | grep -c '"failed":[1-9]')" = 0 ]; then
    echo '{"passed":0,"failed":1,"skipped":0}' >>"$counts"
    runs=$((runs + 1))
  fi
}

closing_line() {
  node scripts/closing-line.ts "$counts" "$runs"
}
